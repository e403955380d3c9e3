//! Rules between layers: whiteouts, opaque directories, implicit parents, links into lower layers, many layers.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::oracle::{Bench, in_namespace};
use super::snapshot::{Snapshot, assert_same, take};
use super::tarball::{Dialect, Item, Tarball};

/// Layers applied with GNU tar: what whiteouts name is removed first, then the rest is unpacked.
pub fn apply_reference(bench: &Bench, name: &str, layers: &[Vec<u8>]) -> PathBuf {
    let point = bench.path(name);
    for layer in layers {
        for entry in names(layer) {
            let path = Path::new(std::ffi::OsStr::from_bytes(&entry)).to_path_buf();
            let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else { continue };
            let Some(hidden) = last.as_bytes().strip_prefix(b".wh.") else { continue };
            if hidden == b".wh..opq" {
                for child in fs::read_dir(point.join(parent)).into_iter().flatten() {
                    remove(&child.unwrap().path());
                }
            } else {
                remove(&point.join(parent).join(std::ffi::OsStr::from_bytes(hidden)));
            }
        }
        bench.untar(name, layer, &["--exclude=.wh.*"]);
    }
    point
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// The names in an archive.
fn names(archive: &[u8]) -> Vec<Vec<u8>> {
    let mut list = Command::new("tar")
        .args(["--quoting-style=literal", "--null", "-t"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = list.stdin.take().unwrap();
    let archive = archive.to_vec();
    let feeder = std::thread::spawn(move || std::io::Write::write_all(&mut input, &archive));
    let output = list.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    output.stdout.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Takes out of a comparison what differs by design in directories that no entry names: tar gives them the time of
/// unpacking, and a layer's own file marks them.
pub fn forget_implicit(paths: &[&str]) -> impl Fn(Snapshot) -> Snapshot + use<> {
    let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    move |mut snapshot| {
        for path in &paths {
            if let Some(seen) = snapshot.get_mut(path) {
                seen.mtime = (0, 0);
                seen.xattrs.remove(&b"trusted.cradle.implicit"[..]);
            }
        }
        snapshot
    }
}

fn pax(items: impl IntoIterator<Item = Item>) -> Vec<u8> {
    Tarball::of(Dialect::Pax, items)
}

#[test]
fn mount_parents_that_no_entry_names() {
    if !in_namespace("layering::mount_parents_that_no_entry_names") {
        return;
    }
    let bench = Bench::new();
    let lower = pax([
        Item::directory("usr/").mode(0o711).owner(3, 4),
        Item::directory("usr/lib/").mode(0o755).mtime(1_500_000_000, 0),
        Item::symlink("lib", "usr/lib"),
        Item::symlink("absolute", "/usr/lib"),
        Item::symlink("up", "../../usr"),
        Item::file("usr/lib/gone", "x"),
        Item::file("usr/lib/target", "target"),
        Item::symlink("explicit", "usr"),
    ]);
    let upper = pax([
        Item::file("usr/new", "kept attributes"),
        Item::file("lib/one", "through a link"),
        Item::file("lib/.wh.gone", ""),
        Item::file("absolute/two", "through an absolute link"),
        Item::file("up/three", "through a link that leads above the root"),
        Item::hard_link("other-name", "lib/target"),
        Item::hard_link("late", "usr/lib/one"),
        Item::directory("explicit/"),
        Item::file("explicit/own", "replaces the link"),
    ]);
    let layers = [bench.layer("lower", &lower), bench.layer("upper", &upper)];
    let mounted = bench.mount_merged("merged", &layers);
    let read = |path: &str| fs::read_to_string(mounted.join(path)).unwrap();
    assert_eq!(read("usr/lib/one"), "through a link");
    assert_eq!(read("usr/lib/two"), "through an absolute link");
    assert_eq!(read("usr/three"), "through a link that leads above the root");
    assert_eq!(read("other-name"), "target");
    assert_eq!(read("late"), "through a link");
    assert_eq!(read("explicit/own"), "replaces the link");
    assert!(fs::symlink_metadata(mounted.join("explicit")).unwrap().is_dir());
    assert!(!mounted.join("usr/own").exists());
    assert!(!mounted.join("usr/lib/gone").exists());
    assert_eq!(fs::metadata(mounted.join("usr/lib/target")).unwrap().nlink(), 2);
    let usr = fs::metadata(mounted.join("usr")).unwrap();
    assert_eq!((usr.mode() & 0o7777, usr.uid(), usr.gid()), (0o711, 3, 4));
    assert!(fs::symlink_metadata(mounted.join("lib")).unwrap().is_symlink());
}

#[test]
fn mount_whiteouts_hide_lower_layers_only() {
    if !in_namespace("layering::mount_whiteouts_hide_lower_layers_only") {
        return;
    }
    let bench = Bench::new();
    let lower = pax([
        Item::directory("a/").mode(0o700),
        Item::file("a/old", "old"),
        Item::directory("b/").mode(0o700),
        Item::file("b/old", "old"),
        Item::file("c", "old"),
        Item::directory("d/").mode(0o700),
        Item::file("d/old", "old"),
    ]);
    let upper = pax([
        // Children before their opaque mark, a file before its whiteout, a directory in place of a removed one, a file
        // that becomes a directory again.
        Item::file("a/new", "new"),
        Item::file("a/.wh..wh..opq", ""),
        Item::file(".wh.b", ""),
        Item::file("b/new", "new"),
        Item::file("c", "new"),
        Item::file(".wh.c", ""),
        Item::file("d", "for a while"),
        Item::directory("d/").mode(0o750),
        Item::file(".wh..wh.plnk", "a storage driver's note"),
    ]);
    let layers = [bench.layer("lower", &lower), bench.layer("upper", &upper)];
    let mounted = bench.mount_merged("merged", &layers);
    let names: Vec<_> = take(&mounted).into_keys().map(|name| String::from_utf8(name).unwrap()).collect();
    assert_eq!(names, ["", "a", "a/new", "b", "b/new", "c", "d"]);
    let mode = |path: &str| fs::metadata(mounted.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("a"), mode("b"), mode("d")), (0o700, 0o755, 0o750));
    assert_eq!(fs::read_to_string(mounted.join("c")).unwrap(), "new");
}

#[test]
fn mount_twenty_layers_as_one_disk() {
    if !in_namespace("layering::mount_twenty_layers_as_one_disk") {
        return;
    }
    let bench = Bench::new();
    let archives: Vec<Vec<u8>> = (0..20_u32)
        .map(|layer| {
            let mut items = vec![
                Item::directory("common/").mode(0o700 + layer),
                Item::file(format!("common/own-{layer}"), vec![b'a'; layer as usize * 1000])
                    .owner(u64::from(layer), 0),
                Item::file("common/last", format!("{layer}")),
                Item::file(format!("common/short-lived-{layer}"), "x"),
                Item::directory(format!("only-{layer}/")),
            ];
            if layer > 0 {
                items.push(Item::file(format!("common/.wh.short-lived-{}", layer - 1), ""));
                items.push(Item::file(format!(".wh.only-{}", layer - 1), ""));
            }
            pax(items)
        })
        .collect();
    let layers: Vec<_> =
        (0..).zip(&archives).map(|(n, archive)| bench.layer(&format!("layer-{n}"), archive)).collect();
    let mounted = bench.mount_merged("merged", &layers);
    let reference = apply_reference(&bench, "reference", &archives);
    let forget = forget_implicit(&[""]);
    assert_same(&forget(take(&mounted)), &forget(take(&reference)));
    assert_eq!(fs::read_to_string(mounted.join("common/last")).unwrap(), "19");
}

/// A layer is a valid overlayfs layer by itself: the kernel stacks two as the merge does.
#[test]
fn mount_layers_stack_in_overlayfs() {
    if !in_namespace("layering::mount_layers_stack_in_overlayfs") {
        return;
    }
    let bench = Bench::new();
    let layers = [bench.layer("lower", &super::edge::lower()), bench.layer("upper", &super::edge::upper())];
    let (lower, upper) = (bench.mount("lower", "lower-mount"), bench.mount("upper", "upper-mount"));
    let stacked = bench.path("stacked");
    fs::create_dir(&stacked).unwrap();
    let options = format!("lowerdir={}:{}", upper.display(), lower.display());
    super::oracle::run(
        Command::new("mount").args(["-t", "overlay", "-o", &options, "overlay"]).arg(&stacked),
    );
    let merged = bench.mount_merged("merged", &layers);
    let names = |root: &Path| take(root).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&merged), names(&stacked));
}

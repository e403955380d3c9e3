//! The root file system: images come out as they were packed; what may be written and what not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Host, images};

#[test]
fn twenty_layers_are_one_disk() {
    let host = Host::shared();
    let script = "
        cat /layers/last; ls /layers | sort -n | tr '\\n' ' '; echo
        ls -d /sys/block/vd* | wc -l; grep -c ' erofs ' /proc/mounts || true";
    let ended = host.summon(&[], &images::layout("twenty"), &["sh", "-c", script]).run();
    // 4, 9, 14 and 19 are removed by the layer above them; the erofs below the overlay is not the container's.
    assert_eq!(ended.good(), "20\nlast 2 3 5 6 7 8 10 11 12 13 15 16 17 18 20 \n2\n0\n");
}

#[test]
fn read_only_and_memory_file_systems() {
    let host = Host::shared();
    let script = "
        (echo x >/file) 2>/dev/null || echo root is read-only
        echo x >/scratch/file && cat /scratch/file
        awk '$2 == \"/scratch\" { print $3 }' /proc/mounts";
    let wishes = ["--read-only", "--tmpfs", "/scratch:size=1m"];
    let ended = host.summon(&wishes, &images::layout("busybox"), &["sh", "-c", script]).run();
    assert_eq!(ended.good(), "root is read-only\nx\ntmpfs\n");
}

#[test]
fn the_writable_disk_has_the_size_asked_for() {
    let host = Host::shared();
    let script = "
        df -m / | awk 'NR == 2 { print ($2 > 40 && $2 < 64) }'
        head -c 100000000 /dev/zero >/fill 2>/dev/null && echo no limit
        rm /fill; echo still works >/small && cat /small";
    let pod = host.summon(&["--disk-size", "64m"], &images::layout("busybox"), &["sh", "-c", script]);
    assert_eq!(pod.run().good(), "1\nstill works\n");
}

/// Every attribute of every file, listed by one program in the container and on what `tar -x` makes.
#[test]
fn the_edge_image_is_what_tar_makes_of_it() {
    let host = Host::shared();
    let unpacked = host.folder().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    for layer in layers("edge") {
        unpack(&layer, &unpacked);
    }
    let lister = list_tree();
    let wanted = output(Command::new(&lister).arg(&unpacked).args(SKIPPED));
    assert!(wanted.lines().count() > 50, "{wanted}");

    let layout = host.folder().join("oci");
    with_program(&layout, &lister);
    let image = format!("oci:{}:edge", layout.display());
    let mut command = vec!["/list-tree", "/"];
    command.extend(SKIPPED);
    let seen = host.summon(&[], &image, &command).run().good();
    let differences: Vec<String> = seen
        .lines()
        .filter(|line| !wanted.lines().any(|other| other == *line))
        .map(|line| format!("guest: {line}"))
        .chain(
            wanted
                .lines()
                .filter(|line| !seen.lines().any(|other| other == *line))
                .map(|line| format!("tar:   {line}")),
        )
        .collect();
    assert!(differences.is_empty() && seen == wanted, "{differences:#?}");
}

/// Made or changed by the container's own mounts, not by the image.
const SKIPPED: [&str; 5] = ["dev", "etc", "proc", "sys", "list-tree"];

/// The layers' blobs of an image, lowest first.
fn layers(tag: &str) -> Vec<PathBuf> {
    let layout = images::folder().join("oci");
    let manifest = output(Command::new("skopeo").args(["inspect", "--raw", &images::layout(tag)]));
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    layers
        .iter()
        .map(|layer| layout.join("blobs").join(layer["digest"].as_str().unwrap().replace(':', "/")))
        .collect()
}

/// What a layer does to a tree: first its whiteouts, then GNU tar, as root.
fn unpack(layer: &Path, tree: &Path) {
    for name in output(Command::new("tar").arg("-tzf").arg(layer)).lines() {
        let path = tree.join(name);
        match path.file_name().unwrap().to_str() {
            Some(".wh..wh..opq") => {
                remove(path.parent().unwrap());
                fs::create_dir(path.parent().unwrap()).unwrap();
            }
            Some(name) if name.starts_with(".wh.") => remove(&path.with_file_name(&name[4..])),
            _ => {}
        }
    }
    let status = Command::new("tar")
        .args([
            "--xattrs",
            "--xattrs-include=*",
            "--same-owner",
            "--numeric-owner",
            "--exclude=.wh.*",
            "-xpzf",
        ])
        .arg(layer)
        .arg("-C")
        .arg(tree)
        .status()
        .unwrap();
    assert!(status.success(), "tar, which must run as root: {status}");
}

fn remove(path: &Path) {
    let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    gone.unwrap();
}

/// The static lister that `make test` builds beside the guest's own program.
fn list_tree() -> PathBuf {
    let path = tests::work_tree().join("target/list-tree");
    assert!(path.exists(), "no {}: run tests/run", path.display());
    path
}

/// An OCI layout with the edge image and one more layer: the lister.
fn with_program(layout: &Path, program: &Path) {
    let target = format!("oci:{}:edge", layout.display());
    output(Command::new("skopeo").args([
        "--insecure-policy",
        "copy",
        "-q",
        &images::layout("edge"),
        &target,
    ]));
    let layer = layout.with_file_name("list-tree.tar");
    let folder = program.parent().unwrap();
    output(Command::new("tar").arg("-C").arg(folder).arg("-cf").arg(&layer).args(["--owner=0", "list-tree"]));
    let image = format!("{}:edge", layout.display());
    output(Command::new("umoci").args(["raw", "add-layer", "--image", &image]).arg(&layer));
}

/// Standard output of a program that must succeed.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

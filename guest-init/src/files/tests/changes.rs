//! Differences from the image, and sizes.

use super::super::Layers;
use super::*;
use rustix::fs::{CWD, FileType, Mode};
use vdocker::archive::ChangeKind::{Added, Deleted, Modified};

/// An image, and an upper layer that repeats its directories.
fn layers(dir: &Path) -> Layers {
    let layers = Layers { upper: dir.join("upper"), image: dir.join("image") };
    for root in [&layers.upper, &layers.image] {
        fs::create_dir_all(root.join("etc/sub")).unwrap();
    }
    layers
}

fn listed(layers: &Layers) -> Vec<(String, vdocker::archive::ChangeKind)> {
    let changes = block_on(async { Files::new().changes(layers.clone()).await.unwrap() });
    changes.into_iter().map(|change| (change.path, change.kind)).collect()
}

fn whiteout(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

#[test]
fn marks_of_the_overlay_become_changes() {
    let dir = tempfile::tempdir().unwrap();
    let layers = layers(dir.path());
    assert_eq!(listed(&layers), []);
    let time = UNIX_EPOCH + Duration::new(1_000_000_000, 0);
    let write = |root: &Path, path: &str, text: &str| {
        fs::write(root.join(path), text).unwrap();
        fs::File::open(root.join(path)).unwrap().set_modified(time).unwrap();
    };
    for path in ["etc/same", "etc/longer", "etc/mode", "etc/sub/gone", "etc/becomes-dir"] {
        write(&layers.image, path, "old");
    }
    fs::create_dir(layers.image.join("becomes-file")).unwrap();
    write(&layers.image, "becomes-file/below", "old");
    write(&layers.upper, "etc/same", "new");
    write(&layers.upper, "etc/longer", "longer");
    write(&layers.upper, "etc/mode", "new");
    fs::set_permissions(layers.upper.join("etc/mode"), fs::Permissions::from_mode(0o600)).unwrap();
    whiteout(&layers.upper.join("etc/sub/gone"));
    whiteout(&layers.upper.join("etc/never-was"));
    fs::create_dir_all(layers.upper.join("etc/becomes-dir/new")).unwrap();
    write(&layers.upper, "becomes-file", "new");
    fs::create_dir_all(layers.upper.join("a.b")).unwrap();
    fs::create_dir_all(layers.upper.join("a/b")).unwrap();
    // Mount points that the image lacks.
    fs::create_dir(layers.upper.join("proc")).unwrap();
    fs::create_dir(layers.upper.join("dev")).unwrap();
    write(&layers.upper, "etc/hosts", "");
    let expected = [
        ("/a", Added),
        ("/a.b", Added),
        ("/a/b", Added),
        ("/becomes-file", Modified),
        ("/etc", Modified),
        ("/etc/becomes-dir", Modified),
        ("/etc/becomes-dir/new", Added),
        ("/etc/longer", Modified),
        ("/etc/mode", Modified),
        ("/etc/sub", Modified),
        ("/etc/sub/gone", Deleted),
    ];
    assert_eq!(listed(&layers), expected.map(|(path, kind)| (path.to_owned(), kind)));
}

#[test]
fn files_count_once() {
    let dir = tempfile::tempdir().unwrap();
    let layers = layers(dir.path());
    fs::write(layers.image.join("etc/file"), [0; 1000]).unwrap();
    fs::write(layers.upper.join("etc/new"), [0; 30]).unwrap();
    fs::hard_link(layers.upper.join("etc/new"), layers.upper.join("etc/sub/twin")).unwrap();
    whiteout(&layers.upper.join("etc/file"));
    let sizes = block_on(async { Files::new().disk_usage(layers).await.unwrap() });
    assert_eq!(sizes, (30, 1030));
}

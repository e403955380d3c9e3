//! What a container has written as a layer of an image. The overlay's own marks take root.

use super::super::Layers;
use super::*;
use rustix::fs::{CWD, FileType, Mode};

fn layer(layers: &Layers, mounts: &[&str]) -> Vec<u8> {
    let mounts = mounts.iter().map(|&mount| mount.to_owned()).collect();
    block_on(async { collect(Files::new().layer(layers.clone(), mounts).unwrap()).await.unwrap() })
}

/// An image, and an upper layer that repeats its directories.
fn layers(dir: &Path) -> Layers {
    let layers = Layers { upper: dir.join("upper"), image: dir.join("image") };
    for root in [&layers.upper, &layers.image] {
        fs::create_dir_all(root.join("etc/sub")).unwrap();
        fs::create_dir_all(root.join("opt/app")).unwrap();
    }
    layers
}

fn whiteout(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

#[test]
fn what_the_pod_makes_is_no_part_of_a_layer() {
    let dir = tempfile::tempdir().unwrap();
    let layers = layers(dir.path());
    fs::remove_dir_all(layers.image.join("etc")).unwrap();
    fs::remove_dir(layers.upper.join("etc/sub")).unwrap();
    for place in ["dev", "proc", "sys", "opt/app/volume", "data"] {
        fs::create_dir(layers.upper.join(place)).unwrap();
    }
    for file in ["hosts", "hostname", "resolv.conf"] {
        fs::write(layers.upper.join("etc").join(file), "").unwrap();
    }
    let nothing = layer(&layers, &["/opt/./app/volume/", "//data"]);
    assert_eq!(names(&nothing), Vec::<String>::new());
    fs::write(layers.upper.join("etc/own"), "").unwrap();
    assert_eq!(
        names(&layer(&layers, &["/data"])),
        ["etc/", "etc/own", "opt/", "opt/app/", "opt/app/volume/"]
    );
}

#[test]
fn marks_of_the_overlay_become_a_layers() {
    let dir = tempfile::tempdir().unwrap();
    let layers = layers(dir.path());
    let (image, upper) = (&layers.image, &layers.upper);
    for path in ["etc/sub/gone", "etc/sub/kept", "etc/mode", "becomes-dir"] {
        fs::write(image.join(path), "old").unwrap();
    }
    fs::create_dir_all(image.join("becomes-file/below")).unwrap();
    whiteout(&upper.join("etc/sub/gone"));
    whiteout(&upper.join("etc/sub/never-was"));
    fs::write(upper.join("etc/mode"), "old").unwrap();
    fs::set_permissions(upper.join("etc/mode"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::hard_link(upper.join("etc/mode"), upper.join("etc/twin")).unwrap();
    fs::create_dir(upper.join("becomes-dir")).unwrap();
    fs::write(upper.join("becomes-file"), "new").unwrap();
    // Changed by itself alone.
    fs::set_permissions(upper.join("opt/app"), fs::Permissions::from_mode(0o700)).unwrap();
    // Would be taken for marks.
    fs::write(upper.join(".wh.etc"), "").unwrap();
    fs::write(upper.join("opt/.wh..wh..opq"), "").unwrap();
    let made = layer(&layers, &[]);
    assert_eq!(
        names(&made),
        [
            "becomes-dir/",
            "becomes-file",
            "etc/",
            "etc/mode",
            "etc/sub/",
            "etc/sub/.wh.gone",
            "etc/twin",
            "opt/",
            "opt/app/",
        ]
    );
    let unpacked = dir.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    tar_unpack(&made, &unpacked);
    let mode = |path: &str| fs::metadata(unpacked.join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("etc/mode"), mode("opt/app"), mode("etc/sub/.wh.gone")), (0o4711, 0o700, 0o600));
    assert_eq!(fs::metadata(unpacked.join("etc/mode")).unwrap().nlink(), 2);
}

#[test]
fn a_directory_in_place_of_the_images_hides_it() {
    let dir = tempfile::tempdir().unwrap();
    let layers = layers(dir.path());
    let opaque = layers.upper.join("opt/app");
    match rustix::fs::setxattr(&opaque, c"trusted.overlay.opaque", b"y", XattrFlags::empty()) {
        // What an ordinary user cannot make; tests that run as root do.
        Err(rustix::io::Errno::PERM) if !rustix::process::geteuid().is_root() => return,
        set => set.unwrap(),
    }
    fs::write(layers.image.join("opt/app/old"), "").unwrap();
    whiteout(&opaque.join("old"));
    fs::write(opaque.join("new"), "").unwrap();
    rustix::fs::setxattr(opaque.join("new"), c"user.note", b"kept", XattrFlags::empty()).unwrap();
    let made = layer(&layers, &[]);
    assert_eq!(names(&made), ["opt/", "opt/app/", "opt/app/.wh..wh..opq", "opt/app/new"]);
    assert!(made.windows(9).any(|bytes| bytes == b"user.note") && !made.windows(7).any(|b| b == b"trusted"));
}

//! Full disks: an error that says so, and nothing half-written where a name was promised.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use image::Limits;
use image::erofs::{ConvertError, convert_layer};
use image::ext4::{Ext4Error, create_scratch};
use image::merge::{MergeError, merge_layers};

use super::oracle::{Bench, in_namespace, run};
use super::tarball::{Dialect, Item, Tarball};

#[test]
fn mount_full_disks() {
    if !in_namespace("full::mount_full_disks") {
        return;
    }
    let bench = Bench::new();
    let small = bench.path("small");
    fs::create_dir(&small).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(&small));

    let archive = Tarball::of(Dialect::Pax, [Item::file("large", vec![1; 3 << 20])]);
    let out = bench.file("small/layer");
    let error = convert_layer(&mut &archive[..], &out, &Limits::default()).unwrap_err();
    assert!(
        matches!(&error, ConvertError::Write(source) if source.kind() == ErrorKind::StorageFull),
        "{error:?}"
    );
    drop(out);
    fs::remove_file(small.join("layer")).unwrap();

    let many = Tarball::of(Dialect::Pax, (0..3000).map(|n| Item::file(n.to_string(), "")));
    let layer = bench.layer("layer", &many);
    let error = merge_layers(&[&layer], &bench.file("small/merged"), &Limits::default()).unwrap_err();
    assert!(
        matches!(&error, MergeError::Write(source) if source.kind() == ErrorKind::StorageFull),
        "{error:?}"
    );
    fs::remove_file(small.join("merged")).unwrap();

    let disk = small.join("disk");
    let error = create_scratch(&bench.path("cache"), &disk, 1 << 30).unwrap_err();
    let Ext4Error::Write { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    assert!(!disk.exists());

    let error = create_scratch(&small.join("cache"), &bench.path("disk"), 1 << 30).unwrap_err();
    assert!(matches!(&error, Ext4Error::Mkfs { .. } | Ext4Error::Template { .. }), "{error:?}");
    assert_eq!(fs::read_dir(small.join("cache")).unwrap().count(), 0, "a half-made template is left");
}

//! An image with every odd thing that a layer can hold, single layers and both merged.

use std::fs;
use std::path::Path;

use super::layering::{apply_reference, forget_implicit};
use super::oracle::{Bench, in_namespace};
use super::snapshot::{assert_same, take};
use super::tarball::{BLOCK_DEVICE, CHAR_DEVICE, Dialect, FIFO, Item, Tarball};

const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// owner rwx, user 1000 rwx, group r-x, mask rwx, others r-x
fn acl() -> Vec<u8> {
    let mut acl = 2_u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    for (tag, permissions, id) in
        [(1_u16, 7_u16, none), (2, 7, 1000), (4, 5, none), (16, 7, none), (32, 5, none)]
    {
        acl.extend_from_slice(&tag.to_le_bytes());
        acl.extend_from_slice(&permissions.to_le_bytes());
        acl.extend_from_slice(&id.to_le_bytes());
    }
    acl
}

/// The lower layer: attributes of all kinds, and what the upper one changes.
pub fn lower() -> Vec<u8> {
    let directories =
        ["", "etc", "bin", "both", "replaced", "replaced/old", "removed", "dev", "becomes-file", "sub"];
    let mut items: Vec<Item> = directories.map(|name| Item::directory(format!("./{name}/"))).into();
    items[0] = items[0].clone().mode(0o750).owner(5, 6).mtime(1_500_000_000, 1);
    items.extend([
        Item::file("both/a", "lower\n").mtime(1_700_000_000, 123_456_789),
        Item::file("both/removed", "x"),
        Item::file("replaced/old/f", "old"),
        Item::file("replaced/o", "old"),
        Item::file("removed/f", "z"),
        Item::file("becomes-file/f", "z"),
        Item::file("becomes-directory", "z"),
        Item::file("bin/capable", "#!/bin/sh\n").mode(0o755).xattr("security.capability", CAPABILITY),
        Item::file("bin/suid", "x").mode(0o4755),
        Item::file("bin/sgid", "x").mode(0o2711),
        Item::directory("bin/sticky").mode(0o1777),
        Item::file("both/user", "u")
            .xattr("user.note", "hello")
            .xattr("user.empty", "")
            .xattr("user.big", [7; 9000]),
        Item::file("both/trusted", "u").xattr("trusted.note", "t"),
        Item::file("both/acl", "u").mode(0o640).xattr("system.posix_acl_access", acl()),
        Item::directory("both/default").xattr("system.posix_acl_default", acl()),
        Item::file("link1", "hard link\n"),
        Item::hard_link("link2", "link1"),
        Item::hard_link("sub/link3", "./link1"),
        Item::symlink("symbolic", "both/a").mtime(1_650_000_000, 5),
        Item::hard_link("symbolic2", "symbolic"),
        Item::symlink("long", "x".repeat(300)),
        Item::symlink("longest", "y".repeat(4095)),
        Item::device(CHAR_DEVICE, "dev/null", 1, 3).mode(0o666),
        Item::device(CHAR_DEVICE, "dev/large", 4095, 1_048_575),
        Item::device(BLOCK_DEVICE, "dev/loop0", 7, 0),
        Item::new(FIFO, "fifo"),
        Item::file("large-ids", "x").owner(4_000_000_000, 3_000_000),
        Item::file("before-1970", "x").mtime(-2, 500_000_000),
        Item::file("far-future", "x").mtime(1 << 34, 999_999_999),
        Item::file("ütf-8-é", "x"),
        Item::file(b"not-\xff-utf-8\n", "x"),
        Item::file("n".repeat(255), "x"),
        Item::file("!before-dots", "x"),
        Item::file("empty", ""),
        Item::file("tail", [b'q'; 5000]),
        Item::file("block", [b'q'; 4096]),
        Item::file("to-directory/.//x/y", "x"),
    ]);
    Tarball::of(Dialect::Pax, items)
}

/// The upper layer: whiteouts, an opaque directory, changed attributes and types.
pub fn upper() -> Vec<u8> {
    let items = [
        Item::directory("both/").mode(0o700).mtime(1_650_000_000, 7),
        Item::file("both/.wh.removed", ""),
        Item::directory("replaced/").mode(0o711),
        Item::file("replaced/.wh..wh..opq", ""),
        Item::file("replaced/new", "new"),
        Item::file(".wh.removed", ""),
        Item::file(".wh.becomes-file", ""),
        Item::file("both/a", "upper\n"),
        Item::file(".wh.link2", ""),
        Item::file("becomes-file", "now a file"),
        Item::file(".wh.becomes-directory", ""),
        Item::directory("becomes-directory"),
        Item::file("sub/added", "x"),
        Item::file(".wh.never-was", ""),
    ];
    Tarball::of(Dialect::Pax, items)
}

fn compare(bench: &Bench, mounted: &Path, reference: &Path, changed: &[&str]) {
    let implicit = forget_implicit(&[&["to-directory", "to-directory/x"], changed].concat());
    assert_same(&implicit(take(mounted)), &implicit(take(reference)));
    assert!(fs::metadata(mounted.join("both/a")).is_ok(), "the mount is empty: {}", bench.path("").display());
}

#[test]
fn mount_edge_lower_layer() {
    if !in_namespace("edge::mount_edge_lower_layer") {
        return;
    }
    let bench = Bench::new();
    bench.layer("layer", &lower());
    let reference = bench.untar("reference", &lower(), &[]);
    compare(&bench, &bench.mount("layer", "single"), &reference, &[]);
    let layer = fs::File::open(bench.path("layer")).unwrap();
    compare(&bench, &bench.mount_merged("merged", &[layer]), &reference, &[]);
}

#[test]
fn mount_edge_image() {
    if !in_namespace("edge::mount_edge_image") {
        return;
    }
    let bench = Bench::new();
    let layers = [bench.layer("lower", &lower()), bench.layer("upper", &upper())];
    let reference = apply_reference(&bench, "reference", &[lower(), upper()]);
    // The upper layer changes these and names no time for them: tar leaves the time of unpacking.
    compare(&bench, &bench.mount_merged("merged", &layers), &reference, &["", "sub"]);
}

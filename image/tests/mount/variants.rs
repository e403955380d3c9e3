//! Archives as different programs write them.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use super::layering::forget_implicit;
use super::oracle::{Bench, in_namespace};
use super::snapshot::{assert_same, take};
use super::tarball::{Dialect, FIFO, Item, Tarball};

#[test]
fn mount_every_format_of_gnu_tar() {
    if !in_namespace("variants::mount_every_format_of_gnu_tar") {
        return;
    }
    let bench = Bench::new();
    let source = bench.path("source");
    fs::create_dir_all(source.join("short/deep")).unwrap();
    fs::write(source.join("short/deep/file"), [5; 10_000]).unwrap();
    fs::write(source.join("short/empty"), "").unwrap();
    fs::hard_link(source.join("short/deep/file"), source.join("short/other")).unwrap();
    symlink("deep/file", source.join("short/link")).unwrap();
    let short = take(&source);
    // Too much for the old formats.
    let long = source.join("l".repeat(120)).join("m".repeat(120));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("n".repeat(200)), "long").unwrap();
    symlink("t".repeat(3000), long.join("target")).unwrap();
    std::os::unix::fs::chown(long.join("n".repeat(200)), Some(3_000_000_000), Some(3_000_000)).unwrap();
    for n in 0..1000 {
        File::create_new(long.join(format!("one-of-many-{n}"))).unwrap();
    }
    let full = take(&source);

    let formats =
        [("v7", &short, "short"), ("ustar", &short, "short"), ("gnu", &full, "."), ("posix", &full, ".")];
    for (format, expected, what) in formats {
        let option = format!("--format={format}");
        let mut options = vec![option.as_str()];
        if what == "short" {
            options.extend(["--exclude=./l*"]);
        }
        let archive = bench.tar("source", &options);
        let layer = bench.layer(&format!("{format}.layer"), &archive);
        let mut found = take(&bench.mount_merged(format, &[layer]));
        let mut expected = expected.clone();
        for seen in found.values_mut().chain(expected.values_mut()) {
            seen.mtime.1 = 0;
            if format != "posix" && seen.mtime.0 == 0 {
                seen.mtime.0 = 0;
            }
        }
        let root = forget_implicit(&[""]);
        let (mut found, mut expected) = (root(found), root(expected));
        if what == "short" {
            // The root had one more directory when its links were counted.
            found.remove(&b""[..]);
            expected.remove(&b""[..]);
        }
        assert_same(&found, &expected);
    }
}

#[test]
fn mount_gnu_numbers_and_names() {
    if !in_namespace("variants::mount_gnu_numbers_and_names") {
        return;
    }
    let bench = Bench::new();
    let items = [
        Item::directory("./"),
        Item::file("ids", "x").owner(4_000_000_000, 4_294_967_294),
        Item::file("before-1970", "x").mtime(-86_400, 0),
        Item::file("far", "x").mtime(1 << 33, 0),
        Item::file([&[b'p'; 150][..], b"/", &[b'q'; 255]].concat(), "x"),
        Item::symlink("link", [b'r'; 3999]),
        Item::new(FIFO, "fifo").mode(0o600),
    ];
    let archive = Tarball::of(Dialect::Gnu, items);
    let layer = bench.layer("layer", &archive);
    let reference = bench.untar("reference", &archive, &[]);
    let forget = forget_implicit(&[&"p".repeat(150)]);
    assert_same(&forget(take(&bench.mount_merged("merged", &[layer]))), &forget(take(&reference)));
}

#[test]
fn mount_records_of_other_writers() {
    if !in_namespace("variants::mount_records_of_other_writers") {
        return;
    }
    let bench = Bench::new();
    let mut tarball = Tarball::new(Dialect::Pax);
    let record = |key: &str, value: &[u8]| (key.to_owned(), value.to_vec());
    // Global records hold for all entries that do not say otherwise.
    tarball.pax(
        b'g',
        &[record("comment", b"0123"), record("uid", b"77"), record("SCHILY.xattr.user.all", b"yes")],
    );
    tarball.put(&Item::file("global", "x"));
    tarball.pax(b'x', &[record("uid", b""), record("mtime", b"1234567890.5")]);
    tarball.put(&Item::file("cleared", "x"));
    tarball.pax(
        b'x',
        &[record("LIBARCHIVE.xattr.user.a%20b", b"aGVsbG8"), record("uid", b"1"), record("gid", b"2")],
    );
    tarball.put(&Item::file("libarchive", "x"));
    // The size of a record wins over the header's.
    tarball.pax(b'x', &[record("size", b"3"), record("path", b"sized")]);
    let header = tarball.header(&Item::file("ignored", ""), 0);
    tarball.block(&header);
    tarball.data(b"abc");
    bench.layer("layer", &tarball.finish());
    let seen = take(&bench.mount("layer", "mounted"));
    let file = |name: &str| &seen[name.as_bytes()];
    let value = |name: &str, key: &str| file(name).xattrs.get(key.as_bytes()).cloned();
    assert_eq!((file("global").uid, value("global", "user.all")), (77, Some(b"yes".to_vec())));
    assert_eq!((file("cleared").uid, file("cleared").mtime), (0, (1_234_567_890, 500_000_000)));
    assert_eq!((file("libarchive").uid, file("libarchive").gid), (1, 2));
    assert_eq!(value("libarchive", "user.a b"), Some(b"hello".to_vec()));
    assert_eq!(fs::read(bench.path("mounted").join("sized")).unwrap(), b"abc");
}

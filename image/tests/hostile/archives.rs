//! One archive a trick, and the error that answers it.

use std::error::Error;
use std::fs::File;

use image::Limits;
use image::erofs::{ConvertError, LayerSummary, convert_layer};
use image::merge::{MergeError, merge_layers};

use super::tarball::{CHAR_DEVICE, Dialect, FILE, Item, Tarball, seal};

pub fn small_limits() -> Limits {
    Limits {
        layer_bytes: 64 << 20,
        entries: 10_000,
        depth: 100,
        sparse_extents: 1000,
        pax_bytes: 100_000,
        metadata_bytes: 16 << 20,
        ..Limits::default()
    }
}

fn convert(archive: &[u8]) -> Result<LayerSummary, ConvertError> {
    convert_layer(&mut &archive[..], &tempfile::tempfile().unwrap(), &small_limits())
}

fn items(items: impl IntoIterator<Item = Item>) -> Result<LayerSummary, ConvertError> {
    convert(&Tarball::of(Dialect::Pax, items))
}

/// The error and what it says it comes from, on one line.
#[track_caller]
fn refused(result: Result<LayerSummary, ConvertError>, words: &str) {
    let error = result.expect_err("the archive was accepted");
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    assert!(text.contains(words), "{text:?} does not say {words:?}");
}

#[test]
fn paths_do_not_leave_the_root() {
    refused(items([Item::file("../evil", "x")]), "leads out of the root");
    refused(items([Item::file("a/../../evil", "x")]), "leads out of the root");
    refused(items([Item::file("/../evil", "x")]), "leads out of the root");
    refused(items([Item::directory("a/../..")]), "leads out of the root");
    refused(items([Item::hard_link("a", "../../etc/passwd")]), "leads out of the root");
    refused(items([Item::file("../.wh.evil", "")]), "leads out of the root");
    refused(items([Item::file("a/.wh...", "")]), "names nothing");
    refused(items([Item::file("a/.wh..", "")]), "names nothing");
    refused(items([Item::file(".wh.", "")]), "names nothing");
}

#[test]
fn links_stay_inside_the_root() {
    // Absolute targets and `..` above the root mean the image's own root: one directory of this name appears there.
    for target in ["/outside", "../../../outside", "/../outside", "./outside/."] {
        let summary = items([Item::symlink("link", target), Item::file("link/file", "x")]).unwrap();
        assert_eq!(summary.entries, 4, "root, link, directory, file");
    }
    refused(
        items([Item::symlink("a", "b"), Item::symlink("b", "a"), Item::file("a/x", "")]),
        "symbolic links",
    );
    refused(items([Item::symlink("a", "a"), Item::file("a/x", "")]), "symbolic links");
    let long = "d/".repeat(2000);
    let chain = (0..30).map(|n| Item::symlink(format!("s{n}"), format!("{long}../s{}", n + 1)));
    refused(items(chain.chain([Item::file("s0/x", "")])), "directories deep");
    refused(items([Item::file("file", "x"), Item::file("file/below", "x")]), "is not a directory");
    refused(items([Item::directory("d"), Item::hard_link("h", "d")]), "names the directory");
    refused(items([Item::hard_link("h", "/")]), "names the directory");
    refused(items([Item::symlink("s", "")]), "is not a file's name");
    refused(items([Item::symlink("s", [b'x'; 4096])]), "is too long");
    refused(items([Item::file("./", "").mode(0o644), Item::symlink("/", "x")]), "root");
}

#[test]
fn a_link_to_a_missing_file_is_refused_at_the_merge() {
    let layer = |items: Vec<Item>| -> File {
        let file = tempfile::tempfile().unwrap();
        convert_layer(&mut &Tarball::of(Dialect::Pax, items)[..], &file, &small_limits()).unwrap();
        file
    };
    let out = || tempfile::tempfile().unwrap();
    let lower = layer(vec![Item::file("target", "x"), Item::directory("directory")]);
    let to = |target: &str| layer(vec![Item::hard_link("link", target)]);
    for (target, works) in [("target", true), ("./target", true), ("missing", false), ("directory", false)] {
        let result = merge_layers(&[&lower, &to(target)], &out(), &small_limits());
        match result {
            Ok(summary) => assert!(works && summary.entries == 3, "{target}"),
            Err(MergeError::MissingLinkTarget { layer: 1, .. }) => assert!(!works, "{target}"),
            Err(error) => panic!("{target}: {error}"),
        }
    }
}

#[test]
fn names_and_counts_are_bounded() {
    refused(items([Item::file([b'n'; 256], "")]), "is too long");
    refused(items([Item::file("ab/".repeat(1400), "")]), "is too long");
    refused(items([Item::file("a/".repeat(101), "")]), "directories deep");
    let nested = (0..101).map(|n| Item::symlink(format!("{}l", "l/".repeat(n)), "x"));
    refused(items(nested), "symbolic links");
    refused(items((0..10_001).map(|n| Item::file(n.to_string(), ""))), "more than 10000 entries");
    let fat = |n: u32| Item::file(n.to_string(), "").xattr("user.fat", [1; 60_000]);
    refused(items((0..300).map(fat)), "need more than");
    let mut tarball = Tarball::new(Dialect::Pax);
    tarball.pax(b'x', &[("path".to_owned(), vec![b'p'; 100_001])]);
    refused(convert(&tarball.finish()), "larger than 100000");
    let mut tarball = Tarball::new(Dialect::Pax);
    (0..3).for_each(|_| tarball.pax(b'x', &[("comment".to_owned(), vec![b'p'; 50_000])]));
    refused(convert(&tarball.finish()), "larger than 100000");
    let mut tarball = Tarball::new(Dialect::Gnu);
    tarball.raw(b'L', b"././@LongLink", &[b'p'; 100_001]);
    refused(convert(&tarball.finish()), "larger than 100000");
    let zeros = std::io::Read::take(std::io::repeat(0), 65 << 20);
    let mut bomb = std::io::BufReader::new(zeros);
    refused(
        convert_layer(&mut bomb, &tempfile::tempfile().unwrap(), &small_limits()),
        "larger than 67108864",
    );
}

#[test]
fn damaged_headers_are_refused() {
    refused(convert(&[b'x'; 2048]), "wrong checksum");
    refused(convert(&[0x1f, 0x8b, 8, 0]), "ends at byte 4");
    let archive = Tarball::of(Dialect::Pax, [Item::file("f", [1; 5000])]);
    refused(convert(&archive[..3000]), "inside an entry");
    refused(convert(&archive[..700]), "inside an entry");
    // An archive without its trailer is whole, as for every other reader.
    assert!(convert(&archive[..archive.len() - 1024]).is_ok());
    refused(convert(&[&[0; 512][..], &archive].concat()), "wrong checksum");

    let tarball = Tarball::new(Dialect::Gnu);
    let patched = |at: usize, bytes: &[u8]| {
        let mut header = tarball.header(&Item::file("f", ""), 0);
        header[at..at + bytes.len()].copy_from_slice(bytes);
        seal(&mut header);
        convert(&header)
    };
    refused(patched(108, b"notanum\0"), "bad user id");
    refused(patched(108, b"\x80\0\0\x01\0\0\0\0"), "bad user id");
    refused(patched(124, &[0xff; 12]), "bad size");
    refused(patched(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), "file at byte");
    refused(patched(156, b"M"), "unknown type 'M'");
    refused(items([Item::device(CHAR_DEVICE, "d", 4096, 0)]), "bad device number");
    let mut tarball = Tarball::new(Dialect::Pax);
    tarball.raw(b'x', b"x", b"99 path=short\n");
    refused(convert(&tarball.finish()), "extended header");
    for record in [&b"x path=a\n"[..], b"11 path=ab", b"9 path a\n", b"5 =a\n", b"12 a\0b=cdef\n"] {
        let mut tarball = Tarball::new(Dialect::Pax);
        tarball.raw(b'x', b"x", record);
        refused(convert(&tarball.finish()), "is malformed");
    }
}

#[test]
fn sparse_maps_must_hold_together() {
    let sparse = |records: &[(&str, &str)], data: &[u8]| {
        let mut tarball = Tarball::new(Dialect::Pax);
        let records: Vec<_> =
            records.iter().map(|(key, value)| (format!("GNU.sparse.{key}"), (*value).into())).collect();
        tarball.pax(b'x', &records);
        tarball.raw(FILE, b"sparse", data);
        convert(&tarball.finish())
    };
    assert!(sparse(&[("map", "0,3,1000,2"), ("size", "5000")], b"abcde").is_ok());
    for map in [
        "0,3,1000,3",
        "0,3,1,2",
        "1000,3,0,2",
        "0,3,18446744073709551615,2",
        "0,5,x,y",
        "0,5,6",
        "0,3,4999,2",
    ] {
        refused(sparse(&[("map", map), ("size", "5000")], b"abcde"), "sparse map");
    }
    refused(sparse(&[("map", "0,5")], b"abcde"), "real size is missing");
    refused(sparse(&[("major", "2"), ("minor", "0"), ("realsize", "5")], b"abcde"), "nobody wrote");
    let form = [("major", "1"), ("minor", "0"), ("realsize", "99")];
    refused(sparse(&form, b"1\n0\n"), "ends inside the map");
    refused(sparse(&form, b"99999\n0\n1\n"), "ends inside the map");
    refused(sparse(&form, &b"9999999\n".repeat(64)), "larger than 1000");
    refused(sparse(&form, &[b'1'; 512]), "no number");
    // A few bytes that ask for a block each.
    let map: Vec<String> = (0..1000).map(|n| format!("{},1", n * 5000)).collect();
    let limits = Limits { layer_bytes: 1 << 20, ..small_limits() };
    let mut tarball = Tarball::new(Dialect::Pax);
    let records = [("map", map.join(",")), ("size", "5000000".to_owned())];
    let records: Vec<_> =
        records.iter().map(|(key, value)| (format!("GNU.sparse.{key}"), value.as_str().into())).collect();
    tarball.pax(b'x', &records);
    tarball.raw(FILE, b"sparse", &[1; 1000]);
    let archive = tarball.finish();
    refused(
        convert_layer(&mut archive.as_slice(), &tempfile::tempfile().unwrap(), &limits),
        "fill more than 1048576 bytes",
    );
    // A few bytes that ask for a map of gigabytes.
    let size = (15_u64 << 40).to_string();
    let map: Vec<String> = (0..900_u64).map(|n| format!("{},1", n << 34)).collect();
    let map = map.join(",");
    refused(sparse(&[("map", &map), ("size", &size)], &[1; 900]), "need more than");
}

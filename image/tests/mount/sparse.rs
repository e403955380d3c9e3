//! Files with holes: every sparse form of GNU tar, and a terabyte of nothing.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

use image::Limits;
use image::erofs::convert_directory;

use super::oracle::{Bench, in_namespace};
use super::snapshot::{assert_same, take};

/// Files of up to 3 MiB with data here and there, sizes and gaps that are no multiples of a block.
fn make_sparse_files(bench: &Bench) {
    let source = bench.path("source");
    fs::create_dir(&source).unwrap();
    let write = |name: &str, size: u64, pieces: &[(u64, usize)]| {
        let file = File::create_new(source.join(name)).unwrap();
        for &(at, length) in pieces {
            file.write_all_at(&vec![b'd'; length], at).unwrap();
        }
        file.set_len(size).unwrap();
    };
    write("all-hole", 3_000_000, &[]);
    write("end-hole", 3_000_001, &[(0, 1)]);
    write("begin-hole", 3_000_000, &[(2_999_999, 1)]);
    write("middle", 3_000_000, &[(1_000_000, 70_000)]);
    let pieces: Vec<(u64, usize)> = (0..60).map(|n| (n * 50_000, 3000)).collect();
    write("many", 60 * 50_000, &pieces);
    write("dense", 100_000, &[(0, 100_000)]);
    write("empty", 0, &[]);
    fs::hard_link(source.join("many"), source.join("many-too")).unwrap();
}

#[test]
fn mount_every_sparse_form() {
    if !in_namespace("sparse::mount_every_sparse_form") {
        return;
    }
    let bench = Bench::new();
    make_sparse_files(&bench);
    let mut expected = take(&bench.path("source"));
    for seen in expected.values_mut() {
        seen.mtime.1 = 0;
    }
    let forms: [(&str, &[&str]); 5] = [
        ("gnu", &["--sparse", "--format=gnu"]),
        ("oldgnu", &["--sparse", "--format=oldgnu"]),
        ("pax-0.0", &["--sparse", "--format=posix", "--sparse-version=0.0"]),
        ("pax-0.1", &["--sparse", "--format=posix", "--sparse-version=0.1"]),
        ("pax-1.0", &["--sparse", "--format=posix", "--sparse-version=1.0"]),
    ];
    for (name, options) in forms {
        let archive = bench.tar("source", options);
        let layer = bench.layer(&format!("{name}.layer"), &archive);
        assert!(archive.len() < 1 << 20, "{name}: tar stored the holes");
        assert!(layer.metadata().unwrap().blocks() * 512 < 1 << 20, "{name}: the layer stores the holes");
        let mounted = bench.mount_merged(name, &[layer]);
        let mut found = take(&mounted);
        for seen in found.values_mut() {
            seen.mtime.1 = 0;
        }
        assert_same(&found, &expected);
    }
}

#[test]
fn mount_a_directory_with_holes_and_sockets() {
    if !in_namespace("sparse::mount_a_directory_with_holes_and_sockets") {
        return;
    }
    let bench = Bench::new();
    make_sparse_files(&bench);
    let source = bench.path("source");
    std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    let layer = bench.file("layer");
    let summary = convert_directory(&source, &layer, &Limits::default(), &|| false).unwrap();
    assert_eq!(summary.dropped_xattrs, 0);
    assert!(layer.metadata().unwrap().blocks() * 512 < 1 << 20, "the layer stores the holes");
    assert_same(&take(&bench.mount_merged("mounted", &[layer])), &take(&source));
}

#[test]
fn mount_a_terabyte_of_nothing() {
    if !in_namespace("sparse::mount_a_terabyte_of_nothing") {
        return;
    }
    let mut bench = Bench::new();
    bench.fsck = false;
    let source = bench.path("source");
    fs::create_dir(&source).unwrap();
    let file = File::create_new(source.join("huge")).unwrap();
    file.set_len(1 << 40).unwrap();
    let marks = [(0, b"begin"), (123_456_789_012, b"inner"), ((1 << 40) - 5, b"endof")];
    for (at, mark) in marks {
        file.write_all_at(mark, at).unwrap();
    }
    let layer = bench.layer("layer", &bench.tar("source", &["--sparse", "--format=posix"]));
    assert!(layer.metadata().unwrap().blocks() * 512 < 16 << 20, "the layer stores the holes");
    let mounted = bench.mount_merged("merged", &[layer]);
    let huge = File::open(mounted.join("huge")).unwrap();
    assert_eq!(huge.metadata().unwrap().len(), 1 << 40);
    let mut buffer = [1; 4096];
    for (at, mark) in marks {
        let mut found = [0; 5];
        huge.read_exact_at(&mut found, at).unwrap();
        assert_eq!(&found, mark);
        // What surrounds a mark inside its chunk is zeros too.
        huge.read_exact_at(&mut buffer, (at + (1 << 16)) % (1 << 39)).unwrap();
        assert_eq!(buffer, [0; 4096]);
    }
    huge.read_exact_at(&mut buffer, 999_999_999_999).unwrap();
    assert_eq!(buffer, [0; 4096]);
}

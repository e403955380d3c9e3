//! Trees of the host, read back by the reader of archives.

use std::os::unix::fs::symlink;

use tar::{Archive, Limits};

use super::*;

const LIMITS: Limits =
    Limits { archive_bytes: 1 << 30, file_bytes: 1 << 30, sparse_extents: 1, pax_bytes: 1 << 20 };

/// Path, link and content of each entry; a reader that takes `piece` bytes at a time.
fn read_back(mut pack: Pack, piece: usize) -> Vec<(String, String, String)> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; piece];
    loop {
        match pack.read(&mut buffer).unwrap() {
            0 => break,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
    assert_eq!(bytes.len() % 512, 0);
    let mut input = &bytes[..];
    let mut archive = Archive::new(&mut input, LIMITS);
    let mut found = Vec::new();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    while let Some(entry) = archive.next_entry().unwrap() {
        let mut content = Vec::new();
        let mut buffer = [0; 1000];
        while let count @ 1.. = archive.read_data(&mut buffer).unwrap() {
            content.extend_from_slice(&buffer[..count]);
        }
        found.push((text(entry.path), text(entry.link), text(content)));
    }
    found
}

fn entry(path: &str, link: &str, content: &str) -> (String, String, String) {
    (path.to_owned(), link.to_owned(), content.to_owned())
}

#[test]
fn a_tree_is_packed_under_a_name() {
    let temp = tempfile::tempdir().unwrap();
    let tree = temp.path().join("tree");
    std::fs::create_dir_all(tree.join("sub")).unwrap();
    std::fs::write(tree.join("a"), "alpha").unwrap();
    std::fs::hard_link(tree.join("a"), tree.join("sub/same")).unwrap();
    symlink("nowhere", tree.join("l")).unwrap();
    let large = "0123456789".repeat(30_000);
    std::fs::write(tree.join("sub/z"), &large).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    let expected = |root: &str| {
        vec![
            entry(&format!("{root}/"), "", ""),
            entry(&format!("{root}/a"), "", "alpha"),
            entry(&format!("{root}/l"), "nowhere", ""),
            entry(&format!("{root}/sub/"), "", ""),
            entry(&format!("{root}/sub/same"), &format!("{root}/a"), ""),
            entry(&format!("{root}/sub/z"), "", &large),
        ]
    };
    for (path, name, piece) in [("tree", "tree", 65_536), ("tree/", "tree", 511), ("tree/.", ".", 1000)] {
        let source = Source::open(&temp.path().join(path), false).unwrap();
        assert_eq!((source.name(), source.is_directory()), (name.as_bytes(), true));
        assert_eq!(read_back(Pack::new(source, name.as_bytes().to_vec()), piece), expected(name));
    }
}

#[test]
fn a_link_is_a_link_until_it_is_to_be_followed() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    std::fs::write(path("file"), "1").unwrap();
    std::fs::create_dir(path("dir")).unwrap();
    symlink("file", path("to-file")).unwrap();
    symlink("dir", path("to-dir")).unwrap();
    let pack = |name: &str, follow| {
        let source = Source::open(&path(name), follow)?;
        let own = source.name().to_vec();
        Ok::<_, io::Error>(read_back(Pack::new(source, own), 512))
    };
    assert_eq!(pack("to-file", false).unwrap(), [entry("to-file", "file", "")]);
    assert_eq!(pack("to-file", true).unwrap(), [entry("to-file", "", "1")]);
    assert_eq!(pack("to-dir", false).unwrap(), [entry("to-dir", "dir", "")]);
    assert_eq!(pack("to-dir/", false).unwrap(), [entry("to-dir/", "", "")]);
    assert!(pack("file/", false).is_err() && pack("gone", false).is_err());
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    std::fs::write(&path, "x".repeat(5000)).unwrap();
    let mut pack = Pack::new(Source::open(&path, false).unwrap(), b"f".to_vec());
    assert_eq!(pack.read(&mut [0; 2000]).unwrap() % 512, 0);
    std::fs::write(&path, "").unwrap();
    assert!(io::copy(&mut pack, &mut io::sink()).unwrap_err().to_string().contains("shorter"));
}

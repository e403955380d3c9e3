//! Copies in.

use super::*;

const PLAIN: WriteOptions = WriteOptions { no_overwrite_dir_non_dir: false, copy_uid_gid: false };
const KEEP: WriteOptions = WriteOptions { no_overwrite_dir_non_dir: true, copy_uid_gid: false };

#[test]
fn what_gnu_tar_packs_we_unpack() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    make_tree(&root);
    let pax: &[&str] = &["--format=pax", "--xattrs", "--xattrs-include=user.*"];
    for (index, (arguments, size)) in
        [(pax, usize::MAX), (&[pax, &["--sparse"]].concat(), 700), (pax, 65_536)].iter().enumerate()
    {
        let archive = tar_pack(&root, arguments);
        let copy = dir.path().join(index.to_string());
        fs::create_dir(&copy).unwrap();
        write(&copy, "/", PLAIN, &archive, *size).unwrap();
        assert_same(&root, &copy);
        // Once more over itself.
        write(&copy, "/", KEEP, &archive, *size).unwrap();
        assert_same(&root, &copy);
    }
    // GNU's own format has whole seconds and no attributes: enough that it is read.
    let copy = dir.path().join("gnu");
    fs::create_dir(&copy).unwrap();
    write(&copy, "/", PLAIN, &tar_pack(&root, &["--format=gnu", "--sparse"]), 65_536).unwrap();
    let paths = |root: &Path| snapshot(root).into_keys().collect::<Vec<_>>();
    assert_eq!(paths(&root), paths(&copy));
    let blocks = |root: &Path| fs::metadata(root.join("sparse")).unwrap().blocks();
    assert_eq!(blocks(&root), blocks(&copy), "holes stay holes");
}

#[test]
fn gzip_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (root, copy) = (dir.path().join("root"), dir.path().join("copy"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&copy).unwrap();
    make_tree(&root);
    let archive = tar_pack(&root, &["--format=pax", "--xattrs", "--xattrs-include=user.*", "--gzip"]);
    write(&copy, "/", KEEP, &archive, 1000).unwrap();
    assert_same(&root, &copy);
    for length in [5, 15, archive.len() / 2] {
        assert!(write(&copy, "/", KEEP, &archive[..length], 1000).is_err());
    }
    // Garbage behind the archive is not looked at.
    write(&copy, "/", KEEP, &[archive.as_slice(), &[7; 5000]].concat(), 1000).unwrap();
}

#[test]
fn what_we_pack_we_unpack() {
    let dir = tempfile::tempdir().unwrap();
    let (root, copy) = (dir.path().join("root"), dir.path().join("copy"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&copy).unwrap();
    make_tree(&root);
    let (_, archive) = read(&root, "/.").unwrap();
    write(&copy, "/", KEEP, &archive, 4096).unwrap();
    assert_same(&root, &copy);
}

/// An archive of one entry, with data.
fn one(kind: tar::Kind, path: &str, link: &str, data: &[u8]) -> Vec<u8> {
    with_xattrs(kind, path, link, data, &[])
}

fn with_xattrs(
    kind: tar::Kind,
    path: &str,
    link: &str,
    data: &[u8],
    xattrs: &[(Vec<u8>, Vec<u8>)],
) -> Vec<u8> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mut archive = Vec::new();
    let header = tar::write::Header {
        kind,
        path: path.as_bytes(),
        link: link.as_bytes(),
        mode: 0o755,
        uid,
        gid,
        size: data.len() as u64,
        mtime: tar::Timestamp { seconds: 1_000_000_000, nanos: 0 },
        device: (0, 0),
        xattrs,
    };
    header.append(&mut archive);
    archive.extend_from_slice(data);
    archive.resize(archive.len() + tar::write::padding(data.len() as u64), 0);
    archive
}

fn put(root: &Path, path: &str, options: WriteOptions, archive: &[u8]) -> Result<(), EngineError> {
    write(root, path, options, archive, usize::MAX)
}

#[test]
fn the_target_is_an_existing_directory() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("file"), "").unwrap();
    symlink("/dir", root.join("link")).unwrap();
    let archive = one(tar::Kind::File, "new", "", b"text");
    put(root, "/link", KEEP, &archive).unwrap();
    assert_eq!(fs::read(root.join("dir/new")).unwrap(), b"text");
    let missing = EngineError::NotFound("Could not find the file /none in container box".to_owned());
    assert_eq!(put(root, "/none", KEEP, &archive), Err(missing));
    let file = EngineError::BadRequest("extraction point is not a directory".to_owned());
    assert_eq!(put(root, "/file", KEEP, &archive), Err(file));
}

#[test]
fn directories_and_files_replace_each_other_where_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("dir/sub/sub")).unwrap();
    fs::write(root.join("dir/sub/file"), "").unwrap();
    fs::write(root.join("file"), "old").unwrap();
    let file_over_dir = one(tar::Kind::File, "./dir", "", b"text");
    let dir_over_file = one(tar::Kind::Directory, "file/", "", b"");
    let refused = |text: &str| Err(EngineError::BadRequest(text.to_owned()));
    let text = r#"cannot overwrite directory "/dir" with non-directory "/""#;
    assert_eq!(put(root, "/", KEEP, &file_over_dir), refused(text));
    let text = r#"cannot overwrite non-directory "/file" with directory "/""#;
    assert_eq!(put(root, "/", KEEP, &dir_over_file), refused(text));
    assert!(root.join("dir/sub/sub").is_dir() && root.join("file").is_file());
    put(root, "/", PLAIN, &file_over_dir).unwrap();
    put(root, "/", PLAIN, &dir_over_file).unwrap();
    assert!(root.join("dir").is_file() && root.join("file").is_dir());
    // A directory over a directory is one with the attributes of the archive's.
    fs::write(root.join("file/kept"), "").unwrap();
    put(root, "/", KEEP, &dir_over_file).unwrap();
    assert!(root.join("file/kept").is_file());
    assert_eq!(fs::metadata(root.join("file")).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn parents_are_made_and_links_followed_inside_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let outside = dir.path().join("outside");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink("/x/y", root.join("a/b/absolute")).unwrap();
    symlink("../../../../outside", root.join("a/b/up")).unwrap();
    symlink(&outside, root.join("a/b/far")).unwrap();
    for (name, made) in [
        ("new/deep/file", "a/b/new/deep/file"),
        ("absolute/file", "x/y/file"),
        ("up/file", "outside/file"),
        ("/rooted", "a/b/rooted"),
        ("up/../x/./file", "a/b/x/file"),
    ] {
        put(&root, "/a/b", KEEP, &one(tar::Kind::File, name, "", b"text")).unwrap();
        assert_eq!(fs::read(root.join(made)).unwrap(), b"text", "{name}");
    }
    put(&root, "/a/b", KEEP, &one(tar::Kind::File, "far/file", "", b"text")).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(root.join(outside.strip_prefix("/").unwrap()).join("file").is_file());
    assert_eq!(fs::metadata(root.join("a/b/new/deep")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn entries_outside_of_the_target_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("secret"), "").unwrap();
    for archive in [
        one(tar::Kind::File, "../file", "", b""),
        one(tar::Kind::File, "a/../../file", "", b""),
        one(tar::Kind::Directory, "..", "", b""),
        one(tar::Kind::HardLink, "link", "../secret", b""),
        one(tar::Kind::HardLink, "link", ".", b""),
    ] {
        let error = put(root, "/dir", KEEP, &archive).unwrap_err();
        assert!(matches!(&error, EngineError::BadRequest(_)), "{error}");
        assert_eq!(fs::read_dir(root.join("dir")).unwrap().count(), 0);
    }
    let text = r#""../file" is outside of "/dir""#;
    let archive = one(tar::Kind::File, "../file", "", b"");
    assert_eq!(put(root, "/dir", KEEP, &archive), Err(EngineError::BadRequest(text.to_owned())));
    // A hard link leads to a name, whatever is there.
    fs::write(root.join("dir/first"), "first").unwrap();
    put(root, "/dir", KEEP, &one(tar::Kind::HardLink, "second", "/first", b"")).unwrap();
    assert_eq!(fs::metadata(root.join("dir/second")).unwrap().nlink(), 2);
    // A symbolic link may say anything.
    put(root, "/dir", KEEP, &one(tar::Kind::Symlink, "link", "../../../etc", b"")).unwrap();
    assert_eq!(fs::read_link(root.join("dir/link")).unwrap(), Path::new("../../../etc"));
    let own = fs::symlink_metadata(root.join("dir/link")).unwrap();
    assert_eq!(own.mtime(), 1_000_000_000);
}

#[test]
fn what_is_no_archive_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let whole = one(tar::Kind::File, "file", "", &[b'x'; 2000]);
    for length in [1, 100, 511, 513, 1000, 2400] {
        let error = put(root, "/", KEEP, &whole[..length]).unwrap_err();
        assert!(matches!(&error, EngineError::BadRequest(_)), "{length}: {error}");
    }
    // Without a trailer, as nothing at all, and with more behind it.
    put(root, "/", KEEP, &whole).unwrap();
    put(root, "/", KEEP, b"").unwrap();
    put(root, "/", KEEP, &[whole.clone(), vec![0; 10_000], vec![1; 100_000]].concat()).unwrap();
    let compressed = [b"BZh9".as_slice(), &[1; 600]].concat();
    let text = "archives compressed by bzip2 are not taken".to_owned();
    assert_eq!(put(root, "/", KEEP, &compressed), Err(EngineError::BadRequest(text)));
    block_on(async {
        let (sender, chunks) = mpsc::channel(2);
        sender.send(Ok(Bytes::from(whole[..700].to_vec()))).await.unwrap();
        sender.send(Err(std::io::Error::other("reset"))).await.unwrap();
        let files = Files::new();
        let error = files.write(subject(root), "", "/", KEEP, chunks).await.unwrap_err();
        assert!(matches!(&error, EngineError::Failed(_)), "{error}");
    });
}

#[test]
fn long_ways_have_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for name in ["d/".repeat(1500), "d/".repeat(100_000), "n".repeat(256), "x".repeat(5000)] {
        let archive = one(tar::Kind::File, &name, "", b"");
        let error = put(root, "/", KEEP, &archive).unwrap_err();
        assert!(
            matches!(&error, EngineError::BadRequest(text) if text.ends_with("file name too long")),
            "{error}"
        );
    }
    // A few links that are many steps.
    let mut up = String::new();
    for index in 0..30 {
        symlink(format!("{up}{}", "./d/".repeat(60)), root.join(format!("link{index}"))).unwrap();
        up = format!("/link{index}/");
    }
    let archive = one(tar::Kind::File, "link29/file", "", b"");
    let error = put(root, "/", KEEP, &archive).unwrap_err();
    assert!(matches!(&error, EngineError::BadRequest(_)), "{error}");
}

#[test]
fn times_of_many_directories_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let (root, copy) = (dir.path().join("root"), dir.path().join("copy"));
    fs::create_dir(&copy).unwrap();
    let long = "n".repeat(200);
    for index in 0..400 {
        fs::create_dir_all(root.join(format!("{index}/{long}/{long}/{long}"))).unwrap();
    }
    let (_, archive) = read(&root, "/.").unwrap();
    write(&copy, "/", KEEP, &archive, 65_536).unwrap();
    assert_same(&root, &copy);
}

#[test]
fn access_control_lists_are_unpacked_and_not_packed() {
    const NAME: &str = "system.posix_acl_access";
    // Version 2; owner rwx, user 1234 r--, group r-x, mask r-x, others ---: acl(5).
    let none = u32::MAX;
    let entries = [(0x01, 7, none), (0x02, 4, 1234), (0x04, 5, none), (0x10, 5, none), (0x20, 0, none)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend_from_slice(&u16::to_le_bytes(tag));
        list.extend_from_slice(&u16::to_le_bytes(permissions));
        list.extend_from_slice(&u32::to_le_bytes(id));
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::write(root.join("other"), "").unwrap();
    let has_lists = rustix::fs::setxattr(root.join("other"), NAME, &list, XattrFlags::empty()).is_ok();
    let attributes = [
        (NAME.as_bytes().to_vec(), list.clone()),
        (b"user.note".to_vec(), b"x".to_vec()),
        (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
    ];
    let archive = with_xattrs(tar::Kind::File, "new", "", b"text", &attributes);
    put(root, "/", KEEP, &archive).unwrap();
    let mut value = [0; 256];
    let acl = rustix::fs::getxattr(root.join("new"), NAME, &mut value[..]);
    // The archive's mode (755) has the last word on the classes of the list.
    list[6] = 7;
    let others = list.len() - 6;
    list[others] = 5;
    let mask = list.len() - 14;
    list[mask] = 5;
    assert_eq!(acl.ok().map(|length| value[..length].to_vec()), has_lists.then_some(list));
    assert!(rustix::fs::getxattr(root.join("new"), "trusted.overlay.opaque", &mut value[..]).is_err());
    let (_, packed) = read(root, "/new").unwrap();
    assert!(!packed.windows(9).any(|window| window == b"posix_acl"));
}

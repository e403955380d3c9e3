//! Archives as they should be, and as a hostile pod sends them.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::PathBuf;

use tar::write::{Header, TRAILER, padding};

use super::*;

/// An entry of an archive: kind, path, link, content.
type Spec<'a> = (Kind, &'a str, &'a str, &'a str);

fn archive(entries: &[Spec<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, path, link, content) in entries {
        Header {
            kind: *kind,
            path: path.as_bytes(),
            link: link.as_bytes(),
            mode: 0o6755,
            uid: 7,
            gid: 8,
            size: content.len() as u64,
            mtime: Timestamp { seconds: 1_000_000_000, nanos: 5 },
            device: (1, 3),
            xattrs: &[],
        }
        .append(&mut bytes);
        bytes.extend_from_slice(content.as_bytes());
        bytes.resize(bytes.len() + padding(content.len() as u64), 0);
    }
    bytes.extend_from_slice(&TRAILER);
    bytes
}

struct Place {
    _temp: tempfile::TempDir,
    /// Where archives are unpacked; beside it lies a file that must stay as it is.
    root: PathBuf,
    secret: PathBuf,
}

fn place() -> Place {
    let temp = tempfile::tempdir().unwrap();
    let (root, secret) = (temp.path().join("root"), temp.path().join("secret"));
    std::fs::create_dir(&root).unwrap();
    std::fs::write(&secret, "secret").unwrap();
    Place { _temp: temp, root, secret }
}

impl Place {
    fn unpack(
        &self,
        name: Option<&str>,
        rename: Option<&str>,
        entries: &[Spec<'_>],
    ) -> Result<Vec<String>, String> {
        let rename = rename.map(|name| name.as_bytes().to_vec());
        let unpack = Unpack::into(&self.root, name.map(str::as_bytes), rename, false).unwrap();
        unpack.run(&mut &archive(entries)[..]).map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        })
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_tree_comes_with_modes_times_and_links() {
    let place = place();
    let entries = [
        (Kind::Directory, "d/", "", ""),
        (Kind::File, "d/a", "", "alpha"),
        (Kind::HardLink, "d/b", "d/a", ""),
        (Kind::Symlink, "d/c", "../../up", ""),
        (Kind::Fifo, "d/p", "", ""),
        (Kind::File, "d/deep/er/f", "", "x"),
    ];
    place.unpack(Some("d"), Some("e"), &entries).unwrap();
    assert_eq!(place.names(), ["e"]);
    assert_eq!((place.read("e/a"), place.read("e/deep/er/f")), ("alpha".into(), "x".into()));
    let stat = |path: &str| place.root.join(path).symlink_metadata().unwrap();
    assert_eq!(stat("e/a").ino(), stat("e/b").ino());
    assert_eq!(std::fs::read_link(place.root.join("e/c")).unwrap(), PathBuf::from("../../up"));
    for path in ["e", "e/a", "e/c", "e/p"] {
        assert_eq!((stat(path).mtime(), stat(path).mtime_nsec()), (1_000_000_000, 5), "{path}");
    }
    // Bits that let a program run as its owner are not the pod's to give.
    assert_eq!(stat("e/a").permissions().mode() & 0o7777, 0o755);
    // Again over what is there.
    place.unpack(Some("d"), Some("e"), &entries).unwrap();
    assert_eq!(place.read("e/b"), "alpha");
}

#[test]
fn what_is_in_a_directory_goes_into_another_or_makes_one() {
    let entries = [(Kind::Directory, "./", "", ""), (Kind::File, "./a", "", "1"), (Kind::File, "b", "", "2")];
    let here = place();
    here.unpack(None, None, &entries).unwrap();
    assert_eq!(here.names(), ["a", "b"]);
    let here = place();
    here.unpack(None, Some("new"), &entries).unwrap();
    assert_eq!((here.names(), here.read("new/b")), (vec!["new".to_owned()], "2".to_owned()));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for path in ["d/../../secret", "..", "d/..", "/d/../x", "other", "dd", "./"] {
        let place = place();
        let error = place.unpack(Some("d"), None, &[(Kind::File, path, "", "evil")]).unwrap_err();
        assert!(error.contains("no place in what was asked for"), "{path}: {error}");
        assert_eq!(
            (place.names(), std::fs::read_to_string(&place.secret).unwrap()),
            (vec![], "secret".into())
        );
    }
    // An absolute name is one below the folder.
    let place = place();
    place.unpack(None, None, &[(Kind::File, "/etc/x", "", "1")]).unwrap();
    assert_eq!(place.read("etc/x"), "1");
}

#[test]
fn links_are_not_followed_whoever_made_them() {
    for target in ["..", "../secret", "/tmp"] {
        let place = place();
        let through = [(Kind::Symlink, "d", target, ""), (Kind::File, "d/new", "", "evil")];
        let error = place.unpack(None, None, &through).unwrap_err();
        assert!(error.contains("cannot write \"d/new\""), "{error}");
    }
    let here = place();
    let over = [(Kind::Symlink, "f", "../secret", ""), (Kind::File, "f", "", "mine")];
    here.unpack(None, None, &over).unwrap();
    assert_eq!(
        (here.read("f"), std::fs::read_to_string(&here.secret).unwrap()),
        ("mine".into(), "secret".into())
    );

    // A link that the user has there.
    let here = place();
    symlink("..", here.root.join("up")).unwrap();
    assert!(here.unpack(None, None, &[(Kind::File, "up/secret", "", "evil")]).is_err());
    let error = here.unpack(None, None, &[(Kind::Directory, "up/", "", "")]).unwrap_err();
    assert!(error.contains("cannot overwrite non-directory"), "{error}");
    assert_eq!(std::fs::read_to_string(&here.secret).unwrap(), "secret");
}

#[test]
fn hard_links_lead_to_files_below_the_folder_only() {
    for target in ["../secret", "/../secret", "", "."] {
        let place = place();
        assert!(place.unpack(None, None, &[(Kind::HardLink, "l", target, "")]).is_err(), "{target}");
        assert!(place.names().is_empty());
    }
    let place = place();
    symlink("../secret", place.root.join("s")).unwrap();
    place.unpack(None, None, &[(Kind::HardLink, "l", "s", ""), (Kind::File, "l", "", "evil")]).unwrap();
    assert_eq!(std::fs::read_to_string(&place.secret).unwrap(), "secret");
    let through = [(Kind::Symlink, "d", "..", ""), (Kind::HardLink, "l", "d/secret", "")];
    assert!(place.unpack(None, None, &through).is_err());
}

#[test]
fn directories_and_files_do_not_replace_each_other() {
    let place = place();
    std::fs::create_dir(place.root.join("d")).unwrap();
    std::fs::set_permissions(place.root.join("d"), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(place.root.join("f"), "old").unwrap();
    let error = place.unpack(None, None, &[(Kind::File, "d", "", "x")]).unwrap_err();
    assert!(error.contains("cannot overwrite directory \"d\" with non-directory"), "{error}");
    let error = place.unpack(None, None, &[(Kind::Directory, "f/", "", "")]).unwrap_err();
    assert!(error.contains("cannot overwrite non-directory \"f/\" with directory"), "{error}");
    // A directory that was there stays the user's.
    place.unpack(None, None, &[(Kind::Directory, "d/", "", ""), (Kind::File, "d/x", "", "1")]).unwrap();
    assert_eq!(place.root.join("d").metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn devices_are_left_out_and_told() {
    let place = place();
    let entries =
        [(Kind::CharDevice, "null", "", ""), (Kind::BlockDevice, "sda", "", ""), (Kind::File, "f", "", "1")];
    assert_eq!(place.unpack(None, None, &entries).unwrap(), ["null", "sda"]);
    assert_eq!(place.names(), ["f"]);
}

#[test]
fn an_archive_that_breaks_off_leaves_no_half_a_file() {
    let place = place();
    let whole = archive(&[(Kind::File, "a", "", "1"), (Kind::File, "b", "", &"x".repeat(2000))]);
    for length in [whole.len() - 1024 - 600, 1024 + 100, 1024 + 700] {
        let unpack = Unpack::into(&place.root, None, None, false).unwrap();
        assert!(matches!(unpack.run(&mut &whole[..length]), Err(UnpackError::Archive(_))), "{length}");
        assert_eq!(place.names(), ["a"]);
    }
}

#[test]
fn directories_in_one_another_have_a_limit() {
    let place = place();
    let deep = |levels: usize| "d/".repeat(levels);
    place.unpack(None, None, &[(Kind::Directory, &deep(MAX_DEPTH), "", "")]).unwrap();
    let error = place.unpack(None, None, &[(Kind::Directory, &deep(MAX_DEPTH + 1), "", "")]).unwrap_err();
    assert!(error.contains("1000 directories in one another"), "{error}");
}

#[test]
fn capabilities_outlive_the_change_of_owner() {
    // cap_net_raw=p, as the kernel keeps it (linux/capability.h, vfs_cap_data).
    let value = [&[0, 0, 0, 2, 0, 0x20][..], &[0; 14]].concat();
    let key = "security.capability";
    let place = place();
    let probe = File::create(place.root.join("probe")).unwrap();
    if fsetxattr(&probe, key, &value, XattrFlags::empty()).is_err() {
        // Nobody but root may, and not on every file system.
        return;
    }
    let xattrs = [(key.as_bytes().to_vec(), value.clone())];
    let mut bytes = Vec::new();
    let header = Header {
        kind: Kind::File,
        path: b"f",
        link: b"",
        mode: 0o755,
        uid: 7,
        gid: 8,
        size: 0,
        mtime: Timestamp::default(),
        device: (0, 0),
        xattrs: &xattrs,
    };
    header.append(&mut bytes);
    bytes.extend_from_slice(&TRAILER);
    Unpack::into(&place.root, None, None, true).unwrap().run(&mut &bytes[..]).unwrap();
    let mut found = [0; 64];
    let path = place.root.join("f");
    let length = rustix::fs::getxattr(&path, key, &mut found).unwrap();
    assert_eq!((&found[..length], path.metadata().unwrap().uid()), (&value[..], 7));
}

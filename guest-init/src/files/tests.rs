//! Copies in both directions against GNU tar, by the same calls that the engine makes.

mod changes;
mod hostile;
mod layer;
mod reading;
mod writing;

use super::{Files, Place, Subject};
use bytes::Bytes;
use rustix::fs::XattrFlags;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::mpsc;
use vdocker::archive::{Chunks, PathStat, WriteOptions};
use vdocker::engine::EngineError;

/// Runs a future as guest-init runs its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn subject(root: &Path) -> Subject {
    Subject { name: "box".to_owned(), place: Place::Directory(root.to_owned()) }
}

async fn collect(mut chunks: Chunks) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

/// Copies out.
fn read(root: &Path, path: &str) -> Result<(PathStat, Vec<u8>), EngineError> {
    block_on(async {
        let (stat, chunks) = Files::new().read(subject(root), path).await?;
        Ok((stat, collect(chunks).await.unwrap()))
    })
}

/// Copies in, in chunks of that size.
fn write(
    root: &Path,
    path: &str,
    options: WriteOptions,
    archive: &[u8],
    size: usize,
) -> Result<(), EngineError> {
    block_on(async {
        let (sender, chunks) = mpsc::channel(2);
        let archive: Vec<Bytes> = archive.chunks(size).map(Bytes::copy_from_slice).collect();
        let feed = async {
            for chunk in archive {
                if sender.send(Ok(chunk)).await.is_err() {
                    break;
                }
            }
            drop(sender);
        };
        let files = Files::new();
        let (done, ()) = tokio::join!(files.write(subject(root), "", path, options, chunks), feed);
        done
    })
}

/// Names of an archive's entries, as GNU tar lists them.
fn names(archive: &[u8]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.tar");
    fs::write(&file, archive).unwrap();
    let output = Command::new("tar").args(["-tPf"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// Unpacks by GNU tar.
fn tar_unpack(archive: &[u8], into: &Path) {
    let file = into.with_extension("tar");
    fs::write(&file, archive).unwrap();
    let mut command = Command::new("tar");
    command.arg("-xpf").arg(&file).arg("-C").arg(into).args(["--xattrs", "--xattrs-include=user.*"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Packs what is in a directory by GNU tar.
fn tar_pack(dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("tar").args(arguments).arg("-cf").arg("-").arg("-C").arg(dir).arg(".").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A tree of everything that anyone may make.
fn make_tree(root: &Path) {
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir_all(root.join("dir/empty")).unwrap();
    fs::write(root.join("dir/file"), "content\n").unwrap();
    fs::write(root.join("dir/nothing"), "").unwrap();
    fs::write(root.join("block"), [7; 512]).unwrap();
    fs::write(root.join("large"), (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect::<Vec<_>>())
        .unwrap();
    fs::hard_link(root.join("dir/file"), root.join("twin")).unwrap();
    fs::hard_link(root.join("dir/file"), root.join("triplet")).unwrap();
    symlink("/nowhere/../x", root.join("dir/absolute")).unwrap();
    symlink("l".repeat(300), root.join("long link")).unwrap();
    let deep = format!("deep/{}/{}", "d".repeat(200), "e".repeat(200));
    fs::create_dir_all(root.join(&deep)).unwrap();
    fs::write(root.join(&deep).join("f".repeat(200)), "far").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"\xff\xfe not text")), "bytes").unwrap();
    fs::write(root.join(OsStr::from_bytes(&[0xe4; 150])), "many").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"island", 500_000).unwrap();
    rustix::fs::setxattr(root.join("block"), "user.note", b"a=b\n\0", XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(root.join("dir"), "user.dir", b"d", XattrFlags::empty()).unwrap();
    mode(&root.join("block"), 0o6711);
    mode(&root.join("dir/empty"), 0o1777);
    mode(&root.join("dir/file"), 0o400);
    for (path, nanos) in [("block", 123_456_789), ("dir/empty", 1), ("dir", 999_999_999), ("sparse", 0)] {
        let time = UNIX_EPOCH + Duration::new(1_000_000_000, nanos);
        fs::File::open(root.join(path)).unwrap().set_modified(time).unwrap();
    }
}

/// All that counts of a tree, by path. Inodes become the first path that has them.
fn snapshot(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    let mut inodes: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    while let Some(dir) = waiting.pop() {
        let mut entries: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let content = if meta.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap())
            } else if meta.is_file() {
                let bytes = fs::read(&path).unwrap();
                let sum =
                    bytes.iter().fold(0_u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
                format!("{} {sum}", bytes.len())
            } else {
                String::new()
            };
            if meta.is_dir() {
                waiting.push(path.clone());
            }
            let mut list = [0; 1000];
            let xattrs = match rustix::fs::llistxattr(&path, &mut list[..]) {
                Ok(length) if !meta.is_symlink() => String::from_utf8_lossy(&list[..length]).into_owned(),
                _ => String::new(),
            };
            let inode = inodes.entry(meta.ino()).or_insert_with(|| name.clone());
            let first = String::from_utf8_lossy(inode).into_owned();
            let what = format!(
                "{:o} {}:{} {}.{:09} {content} {xattrs} {first}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.mtime(),
                meta.mtime_nsec()
            );
            found.insert(name, what);
        }
    }
    found
}

fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (snapshot(one), snapshot(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (path, what) in &one {
        assert_eq!(Some(what), other.get(path), "{}", String::from_utf8_lossy(path));
    }
}

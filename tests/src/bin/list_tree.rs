//! Prints every attribute of every file under a folder, one line a file, sorted by path.
//!
//! Linked statically, so that the same program lists a tree made by `tar -x` on the host and the root file system
//! of a container, which must come out the same. Used by the end-to-end test of the `edge` image.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};

/// `list-tree ROOT [SKIPPED...]`: skipped paths are relative to the root; what is under them is left out too.
fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let root = PathBuf::from(arguments.next().expect("list-tree ROOT [SKIPPED...]"));
    let skipped: Vec<OsString> = arguments.collect();
    let mut paths = Vec::new();
    collect(&root, Path::new(""), &skipped, &mut paths);
    paths.sort();
    let mut links = BTreeMap::new();
    for path in paths {
        println!("{}", line(&root.join(&path), &path, &mut links));
    }
}

/// Adds the paths under `root`/`folder`, relative to `root`.
fn collect(root: &Path, folder: &Path, skipped: &[OsString], paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        if skipped.iter().any(|name| name == path.as_os_str()) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            collect(root, &path, skipped, paths);
        }
        paths.push(path);
    }
}

/// One file: path, kind, mode, owner, time, device, links, attributes and what it holds.
fn line(file: &Path, name: &Path, links: &mut BTreeMap<u64, PathBuf>) -> String {
    let meta = file.symlink_metadata().unwrap();
    let path = name.as_os_str().as_bytes().escape_ascii();
    let mut line = format!("{path} {:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
    let kind = meta.file_type();
    // tar leaves a folder the time of the last file it put there; the tests of `image` compare those of archives.
    if !kind.is_dir() {
        line += &format!(" {}.{:09}", meta.mtime(), meta.mtime_nsec());
    }
    if kind.is_char_device() || kind.is_block_device() {
        line += &format!(" device {:#x}", meta.rdev());
    }
    if kind.is_symlink() {
        line += &format!(" -> {}", std::fs::read_link(file).unwrap().as_os_str().as_bytes().escape_ascii());
    }
    if !kind.is_dir() && meta.nlink() > 1 {
        let first = links.entry(meta.ino()).or_insert_with(|| name.to_owned());
        line += &format!(" links {} first {}", meta.nlink(), first.display());
    }
    if kind.is_file() {
        line += &format!(" size {} content {:016x}", meta.size(), content(file, &meta));
    }
    line + &attributes(file)
}

/// A hash of the blocks that hold anything but zeroes, with their places. EROFS does not say where its holes are, so
/// of a long file only what stands around each GiB and at its end is read.
fn content(file: &Path, meta: &Metadata) -> u64 {
    const BLOCK: u64 = 4096;
    const WINDOW: u64 = 64 * 1024;
    let file = File::open(file).unwrap();
    let mut hasher = DefaultHasher::new();
    let mut block = vec![0; 4096];
    let mut at = 0;
    while at < meta.size() {
        let length = file.read_at(&mut block, at).unwrap();
        if block[..length].iter().any(|byte| *byte != 0) {
            hasher.write_u64(at);
            hasher.write(&block[..length]);
        }
        at += BLOCK;
        let long = meta.size() > 64 << 20;
        let near = at % (1 << 30) < WINDOW || meta.size() - at.min(meta.size()) < WINDOW;
        if long && !near {
            let end = (meta.size() - WINDOW) / BLOCK * BLOCK;
            at = ((at / (1 << 30) + 1) << 30).min(end.max(at));
        }
    }
    hasher.finish()
}

/// The extended attributes, sorted; not those of the kernel's own that a container cannot set.
fn attributes(file: &Path) -> String {
    let mut names = vec![0; 64 * 1024];
    let length = llistxattr(file, &mut names[..]).unwrap();
    let mut names: Vec<&[u8]> =
        names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let mut text = String::new();
    for name in names {
        let mut value = vec![0; 64 * 1024];
        let length = lgetxattr(file, OsStr::from_bytes(name), &mut value[..]).unwrap();
        text += &format!(" {}={}", name.escape_ascii(), value[..length].escape_ascii());
    }
    text
}

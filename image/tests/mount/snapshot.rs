//! What a file system tree looks like to a program: every attribute of every file, comparable and printable.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One file's attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Type and permissions.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u64,
    pub device: u64,
    /// 0 for directories, whose size is the file system's own affair.
    pub size: u64,
    pub mtime: (i64, i64),
    pub target: Option<Vec<u8>>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Hash of a regular file's content.
    pub content: u64,
    /// Names that are the same inode, by its first name.
    pub same_as: Vec<u8>,
}

/// All files below a root, by path; the root itself is the empty path.
pub type Snapshot = BTreeMap<Vec<u8>, Seen>;

pub fn take(root: &Path) -> Snapshot {
    let mut snapshot = Snapshot::new();
    visit(root, &mut Vec::new(), &mut snapshot);
    let mut first: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let inodes: Vec<_> = snapshot.keys().map(|path| (inode(root, path), path.clone())).collect();
    for (inode, path) in inodes {
        let name = first.entry(inode).or_insert_with(|| path.clone()).clone();
        snapshot.get_mut(&path).unwrap().same_as = name;
    }
    snapshot
}

fn join(root: &Path, path: &[u8]) -> std::path::PathBuf {
    root.join(std::ffi::OsStr::from_bytes(path))
}

fn inode(root: &Path, path: &[u8]) -> u64 {
    fs::symlink_metadata(join(root, path)).unwrap().ino()
}

fn visit(root: &Path, path: &mut Vec<u8>, snapshot: &mut Snapshot) {
    let full = join(root, path);
    let metadata = fs::symlink_metadata(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()));
    let kind = metadata.file_type();
    let seen = Seen {
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        links: metadata.nlink(),
        device: metadata.rdev(),
        size: if kind.is_dir() { 0 } else { metadata.size() },
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        target: kind.is_symlink().then(|| fs::read_link(&full).unwrap().as_os_str().as_bytes().to_vec()),
        xattrs: xattrs(&full),
        content: if kind.is_file() { hash(&full) } else { 0 },
        same_as: Vec::new(),
    };
    snapshot.insert(path.clone(), seen);
    if kind.is_dir() {
        let names: Vec<_> = fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        for name in names {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            visit(root, path, snapshot);
            path.truncate(length);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let mut value = vec![0; 65536];
    let mut found = BTreeMap::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        found.insert(name.to_vec(), value[..length].to_vec());
    }
    found
}

fn hash(path: &Path) -> u64 {
    let mut file = File::open(path).unwrap();
    let mut hasher = std::hash::DefaultHasher::new();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let piece = file.by_ref().take(1 << 20).read_to_end(&mut buffer);
        piece.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if buffer.is_empty() {
            return hasher.finish();
        }
        hasher.write(&buffer);
    }
}

/// Fails with the first differences of two trees.
pub fn assert_same(found: &Snapshot, expected: &Snapshot) {
    let mut differences = Vec::new();
    for path in found.keys().chain(expected.keys()).collect::<std::collections::BTreeSet<_>>() {
        let (found, expected) = (found.get(path), expected.get(path));
        if found != expected {
            let path = String::from_utf8_lossy(path);
            differences.push(format!("{path}\n   found {found:?}\nexpected {expected:?}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} files differ\n{}",
        differences.len(),
        differences[..differences.len().min(5)].join("\n")
    );
}

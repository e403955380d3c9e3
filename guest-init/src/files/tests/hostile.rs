//! Containers that change everything under a copy's hands: nothing leads out of the root, nothing hangs.

use super::*;
use rustix::fd::AsFd;
use rustix::fs::{CWD, RenameFlags};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Exchanges two names until it is dropped.
struct Swapper(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Swapper {
    fn start(pairs: Vec<(PathBuf, PathBuf)>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    // What the copy has replaced is not there.
                    let _gone = rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
                }
            }
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

/// A root whose `tree/dir` is exchanged with a link to `outside`, which has `secret`.
fn swapped() -> (tempfile::TempDir, PathBuf, Swapper) {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir_all(root.join("tree/dir/sub")).unwrap();
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::write(outside.join("secret"), "SECRET").unwrap();
    fs::write(outside.join("sub/secret"), "SECRET").unwrap();
    for index in 0..20 {
        fs::write(root.join(format!("tree/dir/sub/file{index}")), "public").unwrap();
        fs::write(root.join(format!("tree/dir/{index}")), "public").unwrap();
    }
    fs::write(root.join("tree/secret"), "public").unwrap();
    fs::write(root.join("tree/dir/secret"), "public").unwrap();
    symlink(&outside, root.join("tree/link")).unwrap();
    symlink("../../../outside", root.join("tree/relative")).unwrap();
    symlink(outside.join("secret"), root.join("tree/file")).unwrap();
    let tree = root.join("tree");
    let pairs = vec![
        (tree.join("dir"), tree.join("link")),
        (tree.join("secret"), tree.join("file")),
        (tree.join("dir"), tree.join("relative")),
    ];
    (dir, root, Swapper::start(pairs))
}

#[test]
fn copies_out_stay_inside() {
    let (_dir, root, _swapper) = swapped();
    for round in 0..300 {
        let path = ["/tree", "/tree/dir", "/tree/dir/secret", "/tree/dir/sub/.", "/tree/secret"][round % 5];
        match read(&root, path) {
            Ok((_, archive)) => {
                assert!(!archive.windows(6).any(|window| window == b"SECRET"), "round {round}");
            }
            Err(EngineError::NotFound(_) | EngineError::BadRequest(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn copies_in_stay_inside() {
    let (dir, root, _swapper) = swapped();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("dir/sub")).unwrap();
    for index in 0..10 {
        fs::write(source.join(format!("dir/new{index}")), "new").unwrap();
        fs::write(source.join(format!("dir/sub/new{index}")), "new").unwrap();
    }
    fs::write(source.join("secret"), "new").unwrap();
    let archive = tar_pack(&source, &["--format=pax"]);
    let before = snapshot(&dir.path().join("outside"));
    for round in 0..300 {
        let options = WriteOptions { no_overwrite_dir_non_dir: round % 2 == 0, copy_uid_gid: false };
        // Many rounds fail, as a path is now a file, now a directory.
        let path = ["/tree", "/tree/dir", "/tree/link/sub"][round % 3];
        let _lost = write(&root, path, options, &archive, 65_536);
    }
    assert_eq!(snapshot(&dir.path().join("outside")), before);
}

#[test]
fn replacing_a_directory_removes_nothing_outside() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir_all(&root).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret"), "").unwrap();
    let fd = rustix::fs::open(&root, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    let swapper = Swapper::start(vec![(root.join("dir/0"), root.join("link"))]);
    for _ in 0..400 {
        // What is removed below its name, or a link left in its place, is an error or none.
        let _lost = super::super::remove::all(fd.as_fd(), b"dir");
        let _lost = super::super::remove::all(fd.as_fd(), b"link");
        for index in 0..5 {
            let _there = fs::create_dir_all(root.join(format!("dir/{index}/sub")));
        }
        let _there = symlink(&outside, root.join("link"));
    }
    drop(swapper);
    assert!(outside.join("secret").exists());
}

#[test]
fn magic_links_lead_nowhere() {
    let root = Path::new("/");
    let pid = std::process::id();
    for path in [format!("/proc/{pid}/root/etc"), format!("/proc/{pid}/cwd/."), format!("/proc/{pid}/fd/0/")]
    {
        let error = read(root, &path).unwrap_err();
        assert!(matches!(&error, EngineError::BadRequest(text) if text.contains("symbolic")), "{error}");
    }
    // Windows into the kernel are empty, so that nothing is read there without end.
    assert_eq!(names(&read(root, "/proc").unwrap().1), ["proc/"]);
}

#[test]
fn depth_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut at = rustix::fs::open(dir.path(), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..1100 {
        rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    }
    let told = block_on(async {
        let (_, chunks) = Files::new().read(subject(dir.path()), "/.").await.unwrap();
        collect(chunks).await
    });
    assert!(told.unwrap_err().to_string().contains("name too long"));
}

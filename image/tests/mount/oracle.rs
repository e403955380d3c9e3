//! The kernel's mount and GNU tar, against which the file systems are compared, in a mount namespace of the test's own.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::Limits;
use image::erofs::convert_layer;
use image::merge::merge_layers;
use rustix::mount::MountFlags;

/// Runs the test named `test` again in a mount namespace of its own; `true` inside it. Fails for an ordinary user.
pub fn in_namespace(test: &str) -> bool {
    const INSIDE: &str = "IMAGE_TEST_IN_MOUNT_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) must be there");
    assert!(
        status.success(),
        "{test} failed in its mount namespace; the tests named mount_* must run as root"
    );
    false
}

/// A folder with a tmpfs on it, which knows all attributes and counts links as EROFS does.
pub struct Bench {
    dir: tempfile::TempDir,
    /// Whether fsck.erofs sees every file; it takes minutes for a terabyte of holes.
    pub fsck: bool,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "mode=755,nr_inodes=0", "none"])
            .arg(dir.path()));
        Self { dir, fsck: true }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A fresh file.
    pub fn file(&self, name: &str) -> File {
        OpenOptions::new().read(true).write(true).create_new(true).open(self.path(name)).unwrap()
    }

    /// Converts an archive into a layer's file.
    pub fn layer(&self, name: &str, archive: &[u8]) -> File {
        let file = self.file(name);
        let summary = convert_layer(&mut &archive[..], &file, &Limits::default()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), summary.file_bytes);
        self.fsck(name);
        file
    }

    /// Merges layers, puts the composite disk together and mounts it.
    pub fn mount_merged(&self, name: &str, layers: &[File]) -> PathBuf {
        let disk = self.file(&format!("{name}.disk"));
        let layers: Vec<&File> = layers.iter().collect();
        let summary = merge_layers(&layers, &disk, &Limits::default()).unwrap();
        let mut at = disk.metadata().unwrap().len();
        assert_eq!(at, summary.meta_bytes);
        for layer in layers {
            copy(layer, &disk, at);
            at += layer.metadata().unwrap().len();
        }
        disk.set_len(at).unwrap();
        assert_eq!(at, summary.disk_bytes);
        self.fsck(&format!("{name}.disk"));
        self.mount(&format!("{name}.disk"), name)
    }

    /// Fails where fsck.erofs finds something wrong.
    fn fsck(&self, name: &str) {
        if !self.fsck {
            return;
        }
        let output = Command::new("fsck.erofs").arg(self.path(name)).output();
        let output = output.expect("fsck.erofs (erofs-utils) must be there");
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success() && !said.contains("<E>"), "fsck.erofs {name}: {said}");
    }

    /// Mounts an EROFS file through a loop device, or directly where the kernel can.
    pub fn mount(&self, file: &str, name: &str) -> PathBuf {
        let (file, point) = (self.path(file), self.path(name));
        fs::create_dir(&point).unwrap();
        if let Err(said) = loop_mount(&file, &point, "erofs", MountFlags::RDONLY) {
            let direct = rustix::mount::mount(&file, &point, "erofs", MountFlags::RDONLY, None);
            direct
                .unwrap_or_else(|error| panic!("cannot mount EROFS: {said}; without a loop device: {error}"));
        }
        point
    }

    /// What GNU tar makes of an archive, in a folder that may have something in it.
    pub fn untar(&self, name: &str, archive: &[u8], more: &[&str]) -> PathBuf {
        let point = self.path(name);
        fs::create_dir_all(&point).unwrap();
        let mut tar = Command::new("sh")
            .args(["-c", "umask 022; exec tar \"$@\"", "tar"])
            .args([
                "--numeric-owner",
                "-p",
                "--xattrs",
                "--xattrs-include=*",
                "--delay-directory-restore",
                "--warning=no-timestamp",
                "-x",
                "-C",
            ])
            .arg(&point)
            .args(more)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(archive).unwrap();
        assert!(tar.wait().unwrap().success(), "tar failed");
        point
    }

    /// What GNU tar makes of a folder.
    pub fn tar(&self, name: &str, options: &[&str]) -> Vec<u8> {
        let output = Command::new("tar")
            .args(["--numeric-owner", "--sort=name", "-c", "-C"])
            .arg(self.path(name))
            .args(options)
            .arg(".")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

/// Mounts through a loop device that goes with the mount. `mount -o loop` would keep the device open for writing, which
/// a kernel without `BLK_DEV_WRITE_MOUNTED` refuses.
pub fn loop_mount(file: &Path, point: &Path, kind: &str, flags: MountFlags) -> Result<(), String> {
    let mut losetup = Command::new("losetup");
    if flags.contains(MountFlags::RDONLY) {
        losetup.arg("--read-only");
    }
    let output = losetup.args(["--find", "--show"]).arg(file).output();
    let output = output.expect("losetup (util-linux) must be there");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mounted = rustix::mount::mount(&device, point, kind, flags, None);
    // The device is in use: it goes when it no longer is.
    run(Command::new("losetup").args(["--detach", &device]));
    mounted.map_err(|error| format!("{device}: {error}"))
}

pub fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} failed; the tests named mount_* must run as root");
}

/// Copies a file's data behind what is in another, leaving zeros out.
fn copy(from: &File, to: &File, mut at: u64) {
    let mut from = from;
    std::io::Seek::rewind(&mut from).unwrap();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        if buffer[..read].iter().any(|&byte| byte != 0) {
            to.write_all_at(&buffer[..read], at).unwrap();
        }
        at += read as u64;
    }
}

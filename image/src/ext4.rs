//! The writable disk of a pod: a sparse raw ext4 file copied from a template that `mkfs.ext4` made once a size.
//! Called by `kcradle summon`; docs/image-format.md gives the reason of each flag.

mod usage;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::extents::data_extents;

/// Part of a template's name: changes with the flags.
const TEMPLATE_VERSION: u32 = 1;

/// Smallest disk: below it the journal and the tables leave no room.
const MIN_BYTES: u64 = 16 << 20;
/// Largest disk: what ext4 addresses with 4 KiB blocks and what a sparse host file may be.
const MAX_BYTES: u64 = 16 << 40;
const BLOCK_BYTES: u64 = 4096;

/// Everything is named, and no configuration file is read, so that every host makes the same disk.
const FEATURES: &str = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,\
                        huge_file,dir_nlink,extra_isize,metadata_csum";

/// Why a scratch disk could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ext4Error {
    /// The size is no multiple of 4 KiB, or out of range.
    #[error("a scratch disk of {0} bytes is impossible: it takes 16 MiB to 16 TiB in steps of 4 KiB")]
    Size(u64),
    /// `mkfs.ext4` could not be started.
    #[error("cannot start mkfs.ext4; it is in the package e2fsprogs")]
    StartMkfs(#[source] io::Error),
    /// `mkfs.ext4` failed.
    #[error("mkfs.ext4 failed on {}: {message}", path.display())]
    Mkfs {
        /// The template.
        path: PathBuf,
        /// Its last words.
        message: String,
    },
    /// The template cannot be written or read.
    #[error("cannot use the scratch disk's template {}", path.display())]
    Template {
        /// The template.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disk could not be written.
    #[error("cannot write the scratch disk {}", path.display())]
    Write {
        /// The disk.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Makes the scratch disk `dest` (which must not exist) of `size` bytes from the template of that size in `cache`,
/// making the template first where it is missing. The file is sparse: an empty disk of 10 GiB takes some 240 KiB.
///
/// # Errors
/// A size below 16 MiB or that is no multiple of 4 KiB, `mkfs.ext4` missing or failing, a failed copy; after a failed
/// copy `dest` does not exist.
pub fn create_scratch(cache: &Path, dest: &Path, size: u64) -> Result<(), Ext4Error> {
    if !(MIN_BYTES..=MAX_BYTES).contains(&size) || !size.is_multiple_of(BLOCK_BYTES) {
        return Err(Ext4Error::Size(size));
    }
    let path = template_of(cache, size);
    let template = match File::open(&path) {
        Ok(template) => template,
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_template(cache, &path, size)?,
        Err(source) => return Err(Ext4Error::Template { path, source }),
    };
    let failed = |source| Ext4Error::Write { path: dest.to_path_buf(), source };
    // What a container writes is nobody else's to read.
    let disk = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dest).map_err(failed)?;
    copy_sparse(&template, &disk, size).map_err(|source| {
        // The copy's own failure is the one to tell.
        let _ = fs::remove_file(dest);
        failed(source)
    })
}

/// Makes a file system on a device or file that is there and holds nothing but zeros.
///
/// # Errors
/// `mkfs.ext4` is missing or fails.
pub fn format(path: &Path) -> Result<(), Ext4Error> {
    let failed = |source| Ext4Error::Write { path: path.to_path_buf(), source };
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let size = io::Seek::seek(&mut &file, io::SeekFrom::End(0)).map_err(failed)?;
    run_mkfs(path, size)?;
    file.sync_all().map_err(failed)
}

/// Bytes that files take on a disk of [`create_scratch`], as of its last flush; nothing is mounted for it.
///
/// # Errors
/// The disk or its template is not readable, or has no file system.
pub fn written(cache: &Path, disk: &Path) -> io::Result<u64> {
    usage::written(disk, &template_of(cache, fs::metadata(disk)?.len()))
}

fn template_of(cache: &Path, size: u64) -> PathBuf {
    cache.join(format!("scratch-v{TEMPLATE_VERSION}-{size}.ext4"))
}

/// Makes the template under a name of its own and renames it: two makers at once each make one, and the last wins.
fn make_template(cache: &Path, path: &Path, size: u64) -> Result<File, Ext4Error> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = cache.join(format!(".scratch-{}-{number}", std::process::id()));
    let made = fill_template(cache, &temporary, size).and_then(|file| {
        let failed = |source| Ext4Error::Template { path: path.to_path_buf(), source };
        fs::rename(&temporary, path).map_err(failed)?;
        Ok(file)
    });
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    made
}

fn fill_template(cache: &Path, path: &Path, size: u64) -> Result<File, Ext4Error> {
    let failed = |source| Ext4Error::Template { path: path.to_path_buf(), source };
    fs::create_dir_all(cache).map_err(failed)?;
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(path).map_err(failed)?;
    file.set_len(size).map_err(failed)?;
    run_mkfs(path, size)?;
    file.sync_all().map_err(failed)?;
    Ok(file)
}

fn run_mkfs(path: &Path, size: u64) -> Result<(), Ext4Error> {
    let journal = if size < 1 << 30 { "size=4" } else { "size=16" };
    let mut command = Command::new("mkfs.ext4");
    command.args([
        "-q", "-F", "-b", "4096", "-I", "256", "-i", "16384", "-m", "0", "-O", FEATURES, "-J", journal,
    ]);
    command.args(["-E", "root_owner=0:0,assume_storage_prezeroed=1"]).arg(path);
    command.env("MKE2FS_CONFIG", "/dev/null").env("LC_ALL", "C").env("PATH", search_path());
    let output = command.output().map_err(Ext4Error::StartMkfs)?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let message = words.lines().map(str::trim).rfind(|line| !line.is_empty());
    let message = message.map_or_else(|| output.status.to_string(), str::to_owned);
    if message.contains("No space left on device") {
        let source = rustix::io::Errno::NOSPC.into();
        return Err(Ext4Error::Template { path: path.to_path_buf(), source });
    }
    Err(Ext4Error::Mkfs { path: path.to_path_buf(), message })
}

/// An ordinary user's PATH often lacks the folders of system tools.
fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// Shares the template's blocks where the file system can, else copies its data and leaves the holes.
fn copy_sparse(template: &File, disk: &File, size: u64) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(disk, template).is_ok() {
        return Ok(());
    }
    disk.set_len(size)?;
    let mut buffer = vec![0; 1 << 20];
    for extent in data_extents(template, size)? {
        let (mut at, end) = (extent.offset, extent.offset + extent.length);
        while at < end {
            let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = template.read_at(&mut buffer[..room], at)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            disk.write_all_at(&buffer[..read], at)?;
            at += read as u64;
        }
    }
    Ok(())
}

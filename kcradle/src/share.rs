//! `kcradle share`, hidden: becomes the process behind a share of the host's files. `kcradle run` starts one a share.
//!
//! In a mount namespace of its own (and, of an ordinary user, a user namespace) it puts what is shared into an empty
//! directory, read-only where that is wished, and executes virtiofsd on it. So the kernel keeps what virtiofsd must not do
//! from it, whatever a guest makes of it: it has no descriptor but the socket, and no way to what lies beside a single
//! file. virtiofsd then takes further namespaces, a root of its own and a filter of system calls by itself.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, FileType, fstat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change, mount_remount,
    move_mount, open_tree,
};
use rustix::process::{
    Resource, Signal, getegid, geteuid, getrlimit, set_parent_process_death_signal, setsid,
};
use rustix::thread::set_no_new_privs;
use spec::launch::SHARE_FILE;

use pod::share::Cache;

use crate::failure::Failure;

/// The command's name.
pub(crate) const VERB: &str = "share";

/// The directory of the namespace that virtiofsd serves.
const SERVED: &str = "share";

/// Extended attributes of users only: capabilities of files and trusted attributes mean something to the host.
const ATTRIBUTES: &str = "/ok/all/user./user.//unsupported/all///";

/// Files that virtiofsd has open at most: one for each that the guest remembers, whether it has it open or not. Of an ordinary
/// user no more than that user may have.
const MOST_FILES: u64 = 1 << 18;

/// A guest's root can make no nodes of the host's devices, and give no programs of the host capabilities.
const CAPABILITIES: &str = "-mknod:-setfcap";

/// What is to be shared, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// The virtiofsd.
    pub(crate) program: PathBuf,
    /// A directory that nothing is needed of: the pod's.
    pub(crate) place: PathBuf,
    /// The directory or file.
    pub(crate) source: PathBuf,
    /// Whether it is a file.
    pub(crate) file: bool,
    /// Whether writes are refused.
    pub(crate) read_only: bool,
    /// What the guest may remember.
    pub(crate) cache: Cache,
}

impl Work {
    /// The command that does it.
    pub(crate) fn command(&self) -> Command {
        // The same program, also where another has been installed in its place.
        let mut command = Command::new("/proc/self/exe");
        let word = |yes: bool, word: &'static str, other: &'static str| if yes { word } else { other };
        command.arg0("kcradle").arg(VERB).args([&self.program, &self.place, &self.source]);
        command.args([
            word(self.file, "file", "directory"),
            word(self.read_only, "ro", "rw"),
            word(self.cache == Cache::Never, "never", "auto"),
        ]);
        command
    }

    /// Reads the arguments behind the command's name.
    fn read(arguments: Vec<OsString>) -> Option<Self> {
        let [program, place, source, file, read_only, cache] = <[OsString; 6]>::try_from(arguments).ok()?;
        Some(Self {
            program: program.into(),
            place: place.into(),
            source: source.into(),
            file: file == "file",
            read_only: read_only == "ro",
            cache: if cache == "never" { Cache::Never } else { Cache::Auto },
        })
    }
}

/// Becomes virtiofsd; answers where that fails.
pub(crate) fn run() -> Result<u8, Failure> {
    let work = Work::read(std::env::args_os().skip(2).collect())
        .ok_or_else(|| Failure::new("`share` is for kcradle itself"))?;
    // Its options are separated so, and what is behind one would be an option of the name's choice.
    if is_of_qemu(&work.program) && work.place.as_os_str().as_encoded_bytes().contains(&b',') {
        return Err(Failure::new("QEMU's virtiofsd cannot serve a pod with a comma in its path"));
    }
    // Away from the terminal: what is typed to end or stop the pod is for its processes, which still need their files.
    let _ = setsid();
    vmm::sandbox::pass_on_standard_streams_only().context("cannot keep descriptors from virtiofsd")?;
    let is_user = !geteuid().is_root();
    enter_namespaces(is_user).context("cannot make namespaces")?;
    // Where the parent has gone before this, the end of its socket tells virtiofsd.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot bind to the parent process")?;
    // Neither virtiofsd nor what it might be made to execute gets more than is here.
    set_no_new_privs(true).context("cannot forbid new privileges")?;
    prepare(&work).with_context(|| format!("cannot share {}", work.source.display()))?;
    let error = virtiofsd(&work, is_user).exec();
    Err(anyhow::Error::from(error).context(format!("cannot execute {}", work.program.display())).into())
}

/// A mount namespace whose mounts nobody else sees; of an ordinary user a user namespace too, in which it is root and
/// everybody else nobody.
fn enter_namespaces(is_user: bool) -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    let user = if is_user { CloneFlags::CLONE_NEWUSER } else { CloneFlags::empty() };
    unshare(user | CloneFlags::CLONE_NEWNS)?;
    if is_user {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {} 1", uid.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("0 {} 1", gid.as_raw()))?;
    }
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// Puts what is shared at [`SERVED`] in a directory that is empty else, and makes that the working directory.
fn prepare(work: &Work) -> io::Result<()> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, &work.source, flags)?;
    let expected = if work.file { FileType::RegularFile } else { FileType::Directory };
    if FileType::from_raw_mode(fstat(&tree)?.st_mode) != expected {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not what it was a moment ago"));
    }
    // While the mounts are nowhere yet: by their paths, whoever may rename in the directory would take some out of it.
    vmm::sandbox::restrict_mounts(tree.as_fd(), work.read_only)?;
    let private = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", &work.place, "tmpfs", private, Some(c"size=64k,nr_inodes=8,mode=755"))?;
    // The new one, not that below it.
    std::env::set_current_dir(&work.place)?;
    fs::create_dir(SERVED)?;
    let target = if work.file {
        let path = Path::new(SERVED).join(SHARE_FILE);
        fs::write(&path, "")?;
        path
    } else {
        PathBuf::from(SERVED)
    };
    move_mount(&tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    drop(tree);
    if work.file {
        mount_remount(".", MountFlags::BIND | MountFlags::RDONLY | private, "")?;
    }
    Ok(())
}

/// virtiofsd, which takes its clients from standard input, a listening socket. Of an ordinary user all of the guest's users
/// are that one.
fn virtiofsd(work: &Work, is_user: bool) -> Command {
    let mut command = Command::new(&work.program);
    command.env_clear().stdin(Stdio::inherit()).arg("--fd=0");
    let most = getrlimit(Resource::Nofile).maximum.filter(|_| is_user).unwrap_or(MOST_FILES).min(MOST_FILES);
    command.arg(format!("--rlimit-nofile={most}"));
    let never = work.cache == Cache::Never;
    if is_of_qemu(&work.program) {
        command.arg("-f");
        let cache = if never { "none" } else { "auto" };
        for option in ["sandbox=namespace", "log_level=err", "announce_submounts"] {
            command.args(["-o", option]);
        }
        // Without extended attributes: it does not start where it may not map capabilities of files.
        for (name, value) in [("cache", cache), ("modcaps", CAPABILITIES)] {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        // It needs the whole path.
        let mut source = OsString::from("source=");
        source.push(work.place.join(SERVED));
        command.arg("-o").arg(source);
        return command;
    }
    let cache = if never { "never" } else { "auto" };
    command.args(["--shared-dir", SERVED, "--sandbox", "namespace", "--cache", cache]);
    // Handles would need the right to open any file of the file system.
    command.args(["--inode-file-handles=never", "--log-level", "error", "--announce-submounts"]);
    command.arg(format!("--modcaps={CAPABILITIES}")).args(["--xattrmap", ATTRIBUTES]);
    if is_user {
        let everybody = format!("squash-guest:0:0:{}", u32::MAX);
        command.args(["--translate-uid", &everybody, "--translate-gid", &everybody]);
    }
    command
}

/// Whether it is the one that QEMU had up to its version 7, with options of its own: Debian 12 has it.
pub(crate) fn is_of_qemu(program: &Path) -> bool {
    program.parent().is_some_and(|folder| folder.ends_with("lib/qemu"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn the_work_survives_its_arguments() {
        for (file, read_only, cache) in [(true, false, Cache::Auto), (false, true, Cache::Never)] {
            let work = Work {
                program: "/usr/libexec/virtiofsd".into(),
                place: "/pods/a b".into(),
                source: "/srv".into(),
                file,
                read_only,
                cache,
            };
            let arguments = work.command().get_args().skip(1).map(OsStr::to_owned).collect();
            assert_eq!(Work::read(arguments), Some(work));
        }
        assert_eq!(Work::read(vec!["x".into()]), None);
    }

    #[test]
    fn each_virtiofsd_gets_its_options() {
        let work = |program: &str| Work {
            program: program.into(),
            place: "/p".into(),
            source: "/s".into(),
            file: false,
            read_only: false,
            cache: Cache::Never,
        };
        let words = |program: &str| {
            let command = virtiofsd(&work(program), true);
            command.get_args().map(|word| word.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert!(
            words("/usr/lib/qemu/virtiofsd")
                .contains("-o cache=none -o modcaps=-mknod:-setfcap -o source=/p/share")
        );
        assert!(words("/usr/libexec/virtiofsd").contains("--cache never --inode-file-handles=never"));
    }
}

//! `kcradle rm`: removes pod directories, and what they kept in the image store.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context as _;

use crate::atomic_file;
use crate::cli::RmArgs;
use crate::failure::{Failure, HintExt as _};
use crate::hint;
use crate::home::Home;
use crate::pod::{LockError, PodDir, PodError, PodLock, PodRecord};
use crate::stdout;
use crate::stop;

/// The files of a pod in the order of their removal: without the first it is none any more.
const FILES: [&str; 10] = [
    "pod.json",
    "control.sock",
    "docker.sock",
    "state.json",
    "pid",
    "console.log",
    "scratch.ext4",
    "cradle",
    "launch.json",
    "lock",
];

/// Removes the pods, all of them even where one fails.
pub(crate) fn run(args: &RmArgs) -> Result<u8, Failure> {
    let mut code = 0;
    for path in &args.dirs {
        match remove(path, args.force) {
            Ok(()) => stdout::line(format_args!("{}", path.display())),
            Err(failure) => {
                let failure = failure.context(format!("cannot remove {}", path.display()));
                failure.print();
                code = failure.exit_code();
            }
        }
    }
    Ok(code)
}

fn remove(path: &Path, force: bool) -> Result<(), Failure> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let dir = PodDir::new(&path).context("cannot name the pod directory")?;
    let record = match dir.read_record() {
        Ok(record) => Some(record),
        Err(PodError::Missing(_)) if force => return Ok(()),
        // A pod that is damaged, or of another version, can still be removed.
        Err(PodError::Parse { .. } | PodError::Version { .. }) if force => None,
        Err(error) => return Err(hint::where_pods_are(error)),
    };
    let lock = match PodLock::take(&dir.lock()) {
        Err(LockError::Held) if force => {
            stop::kill(&dir)?;
            PodLock::take(&dir.lock())
        }
        taken => taken,
    };
    let lock = match lock {
        Err(LockError::Held) => {
            return Err(anyhow::Error::from(LockError::Held)).hint(format!(
                "stop it with `kcradle stop {0}`, or use `kcradle rm -f {0}`",
                path.display()
            ));
        }
        Err(LockError::Lock { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        lock => Some(lock.map_err(anyhow::Error::from)?),
    };
    delete(&dir)?;
    drop(lock);
    forget(&dir, record.as_ref())
}

/// Removes the pod's own files, whole or torn, and the directory if nothing else is in it.
fn delete(dir: &PodDir) -> Result<(), Failure> {
    let torn = torn(dir).with_context(|| format!("cannot list {}", dir.path().display()))?;
    for file in FILES.iter().map(|name| dir.path().join(name)).chain(torn) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(anyhow::Error::from(error)
                    .context(format!("cannot remove {}", file.display()))
                    .into());
            }
            _ => {}
        }
    }
    match fs::remove_dir(dir.path()) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            eprintln!("kcradle: {} is kept: it holds files that are not the pod's", dir.path().display());
            Ok(())
        }
        Err(error) => Err(anyhow::Error::from(error).context("cannot remove the directory").into()),
        Ok(()) => Ok(()),
    }
}

/// What killed processes left of files that they were writing.
fn torn(dir: &PodDir) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir.path())?.collect::<io::Result<Vec<_>>>()?;
    let torn = |entry: &DirEntry| FILES.iter().any(|file| atomic_file::is_torn(&entry.file_name(), file));
    Ok(entries.iter().filter(|entry| torn(entry)).map(DirEntry::path).collect())
}

/// Lets the image store remove what only this pod needed.
fn forget(dir: &PodDir, record: Option<&PodRecord>) -> Result<(), Failure> {
    let home = match record {
        Some(record) => Home::at(record.home.clone()),
        None => Home::from_environment()?,
    };
    if home.path().exists() {
        home.store()?.remove_root(dir.path()).context("cannot tell the image store")?;
    }
    Ok(())
}

//! `kcradle rm`: removes pod directories, and what they kept in the image store.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use pod::{Home, LockError, PodDir, PodError, PodLock, PodRecord, Removed};

use crate::cli::RmArgs;
use crate::failure::{Failure, HintExt as _};
use crate::hint;
use crate::home;
use crate::stdout;
use crate::stop;

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
    if dir.remove().map_err(anyhow::Error::from)? == Removed::DirectoryKept {
        eprintln!("kcradle: {} is kept: it holds files that are not the pod's", dir.path().display());
    }
    drop(lock);
    forget(&dir, record.as_ref())
}

/// Lets the image store remove what only this pod needed.
fn forget(dir: &PodDir, record: Option<&PodRecord>) -> Result<(), Failure> {
    let home = match record {
        Some(record) => Home::at(record.home.clone()),
        None => home::find()?,
    };
    if home.path().exists() {
        home::store(&home)?.remove_root(dir.path()).context("cannot tell the image store")?;
    }
    Ok(())
}

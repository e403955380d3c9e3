//! The pods of the daemon: a directory below `STATE/pods` for each container, with the container's id as its name, and the
//! processes that run them.

pub(crate) mod client;
pub(crate) mod feed;
pub(crate) mod held;
pub(crate) mod process;

use std::io;
use std::path::{Path, PathBuf};

use pod::PodDir;

/// Where pods are, and what runs them.
#[derive(Clone, Debug)]
pub(crate) struct Pods {
    dir: PathBuf,
    program: PathBuf,
}

impl Pods {
    /// Pods in that directory, run by that program.
    pub(crate) fn new(dir: PathBuf, program: PathBuf) -> Self {
        Self { dir, program }
    }

    /// Where all pods are.
    pub(crate) fn root(&self) -> &Path {
        &self.dir
    }

    /// The pod of a container.
    ///
    /// # Errors
    /// The daemon's directory is given relative to a working directory that has gone.
    pub(crate) fn of(&self, id: &str) -> io::Result<PodDir> {
        PodDir::new(&self.dir.join(id))
    }

    /// The program that runs a pod.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }
}

//! What a user asks to have mounted into a container: volumes, directories and files of the host, memory file systems.
//!
//! Written on the command line as `-v` and `--mount` ([`text`]), or sent to the API; what becomes of it is the caller's.

pub mod text;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::bind::{Bind, BindError, TargetError};

/// Why a mount cannot be asked for. Texts are Docker's where it has them.
#[derive(Debug, Error)]
pub enum MountError {
    /// Not of the form that `-v` takes.
    #[error("invalid volume specification: '{0}'")]
    Specification(String),
    /// An unknown option of `-v`.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// `--mount` without a field, or with one that is unknown or cannot be there.
    #[error("invalid argument \"{text}\" for \"--mount\" flag: {why}")]
    Argument {
        /// What was written.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// A directory or file of the host.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A destination that cannot be.
    #[error("invalid mount config: {0}")]
    Target(#[from] TargetError),
}

/// A mount that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A volume.
    Volume(VolumeWish),
    /// A directory or file of the host.
    Bind(Bind),
    /// A memory file system: options as in `--tmpfs`.
    Tmpfs(String),
}

/// A volume that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeWish {
    /// `None`: one of the container's own.
    pub name: Option<String>,
    /// A path in it that is mounted in place of the whole.
    pub subpath: Option<String>,
    /// Whether it stays empty although the image has something at the place.
    pub no_copy: bool,
    /// Whether the container's writes are refused.
    pub read_only: bool,
    /// Whether it is known that the host can change it, where a guest does not trust its host.
    pub untrusted: bool,
    /// What makes it, where it is not there yet.
    pub driver: Option<String>,
    /// Its labels, where it is made.
    pub labels: BTreeMap<String, String>,
    /// Its options, where it is made.
    pub options: BTreeMap<String, String>,
}

impl VolumeWish {
    /// The volume of that name with options as `-v NAME:PATH:OPTIONS` has them.
    ///
    /// # Errors
    /// An option that is unknown.
    pub fn with_mode(name: Option<&str>, mode: &str) -> Result<Self, MountError> {
        let mut wish = Self { name: name.map(str::to_owned), ..Self::default() };
        for option in mode.split(',') {
            match option {
                "ro" => wish.read_only = true,
                "nocopy" => wish.no_copy = true,
                "" | "rw" | "z" | "Z" => {}
                other => return Err(MountError::Mode(other.to_owned())),
            }
        }
        Ok(wish)
    }
}

//! A directory or file of the host at a place in a container, as a user asks for it ([`crate::mount`], the Docker API).
//!
//! Nothing is looked at here. What becomes of it in a pod is [`crate::share`].

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// Why something of the host cannot be asked for. Texts are Docker's where it has them.
#[derive(Debug, Error)]
pub enum BindError {
    /// An unknown option of `-v`.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// The guest has mounts of its own, and none of the host's afterwards.
    #[error(
        "invalid mount config for type \"bind\": propagation '{0}' is not supported: mounts of the host do not become the \
         microVM's, only rprivate is"
    )]
    Propagation(String),
    /// Volumes are filled, directories of the host are not.
    #[error("invalid mount config for type \"bind\": field VolumeOptions must not be specified")]
    NoCopy,
    /// A source that cannot be.
    #[error("invalid mount path: '{0}'")]
    Source(String),
    /// A destination that cannot be.
    #[error("invalid mount config for type \"bind\": {0}")]
    Target(TargetError),
}

/// Why nothing can be mounted at a path of a container, in Docker's words.
#[derive(Debug, Error)]
pub enum TargetError {
    /// It is not absolute.
    #[error("invalid mount path: '{0}' mount path must be absolute")]
    Relative(String),
    /// It is the root.
    #[error("invalid specification: destination can't be '/'")]
    Root,
    /// It has `..` or NUL.
    #[error("invalid mount path: '{0}'")]
    Path(String),
}

/// A directory or file of the host at a place in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The path on the host, absolute.
    pub source: PathBuf,
    /// The path in the container, absolute.
    pub target: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether a directory that is missing is made.
    pub create: bool,
}

/// Options of `-v` on a path of the host: labels and hints of consistency mean nothing here, and do no harm.
const WITHOUT_MEANING: [&str; 9] =
    ["", "rw", "z", "Z", "rprivate", "private", "cached", "delegated", "consistent"];

/// Kinds of propagation that would be the host's business.
const PROPAGATIONS: [&str; 4] = ["shared", "rshared", "slave", "rslave"];

/// Reads the options behind a path: whether writes are refused.
///
/// # Errors
/// An option that is unknown or cannot be had.
pub fn read_only(mode: &str) -> Result<bool, BindError> {
    let mut read_only = false;
    for option in mode.split(',') {
        match option {
            "ro" => read_only = true,
            "nocopy" => return Err(BindError::NoCopy),
            _ if PROPAGATIONS.contains(&option) => return Err(BindError::Propagation(option.to_owned())),
            _ if WITHOUT_MEANING.contains(&option) => {}
            _ => return Err(BindError::Mode(option.to_owned())),
        }
    }
    Ok(read_only)
}

/// Checks a kind of propagation as `--mount` and the API have it.
///
/// # Errors
/// One that would be the host's business.
pub fn check_propagation(kind: &str) -> Result<(), BindError> {
    if ["", "rprivate", "private"].contains(&kind) {
        return Ok(());
    }
    Err(BindError::Propagation(kind.to_owned()))
}

impl Bind {
    /// What is at `source`, of the working directory where it is not absolute, at `target` in the container.
    ///
    /// # Errors
    /// Paths that cannot be.
    pub fn new(source: &str, target: &str, read_only: bool, create: bool) -> Result<Self, BindError> {
        if source.contains('\0') {
            return Err(BindError::Source(source.to_owned()));
        }
        let absolute = std::path::absolute(source).map_err(|_| BindError::Source(source.to_owned()))?;
        let target = clean_target(target).map_err(BindError::Target)?;
        Ok(Self { source: clean_source(&absolute), target, read_only, create })
    }
}

/// An absolute path of the host as Docker keeps it: `..` takes away the name before it, whatever that is a link to, and a
/// slash at the end is nothing.
fn clean_source(source: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in source.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

/// A path in a container at which something can be mounted, without doubled or trailing slashes.
///
/// # Errors
/// [`TargetError`].
pub fn clean_target(target: &str) -> Result<String, TargetError> {
    if !target.starts_with('/') {
        return Err(TargetError::Relative(target.to_owned()));
    }
    let parts: Vec<_> = target.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || target.contains('\0') {
        return Err(TargetError::Path(target.to_owned()));
    }
    if parts.is_empty() { Err(TargetError::Root) } else { Ok(format!("/{}", parts.join("/"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_kept_as_docker_keeps_them() {
        for source in ["/srv/data/", "/srv/./x/../data", "/../../srv/data//"] {
            let bind = Bind::new(source, "/y", false, true).unwrap();
            assert_eq!(bind.source.to_str(), Some("/srv/data"), "{source}");
        }
        assert!(Bind::new("./x", "/y", false, true).unwrap().source.is_absolute());
        assert!(matches!(Bind::new("/a\0", "/y", false, true), Err(BindError::Source(_))));
    }
}

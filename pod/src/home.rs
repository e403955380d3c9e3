//! The state directory: the image store and the list of pods. `$CRADLE_HOME`, else `/var/lib/cradle` for root and
//! `$XDG_DATA_HOME/cradle` (`~/.local/share/cradle`) for others.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use image::{Store, StoreError};

use crate::volume::Volumes;

/// The state directory.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// The directory that the environment names; it need not exist yet. `None` where it names none.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let root = rustix::process::geteuid().is_root();
        choose(root, &|name| std::env::var_os(name)).map(|path| Self { path })
    }

    /// The directory at a known place.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The directory itself, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the image store, which is made where it is missing.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn store(&self) -> Result<Store, StoreError> {
        Store::open(&self.path.join("store"))
    }

    /// The store of volumes.
    #[must_use]
    pub fn volumes(&self) -> Volumes {
        Volumes::at(self.path.join("volumes"))
    }

    /// Where templates of writable disks are kept.
    #[must_use]
    pub fn templates(&self) -> PathBuf {
        self.path.join("templates")
    }
}

/// Relative paths are passed over, as the XDG base directory specification asks; CRADLE_HOME's is refused.
fn choose(root: bool, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if variable("CRADLE_HOME").is_some_and(|path| !path.is_empty()) {
        return absolute("CRADLE_HOME");
    }
    if root {
        return Some(PathBuf::from("/var/lib/cradle"));
    }
    absolute("XDG_DATA_HOME")
        .map(|path| path.join("cradle"))
        .or_else(|| absolute("HOME").map(|path| path.join(".local/share/cradle")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_follows_the_environment() {
        let with = |pairs: &'static [(&str, &str)], root| {
            choose(root, &|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
        };
        assert_eq!(with(&[("CRADLE_HOME", "/a"), ("HOME", "/h")], true), Some("/a".into()));
        assert_eq!(with(&[("CRADLE_HOME", "a"), ("HOME", "/h")], true), None);
        assert_eq!(with(&[("CRADLE_HOME", ""), ("HOME", "/h")], true), Some("/var/lib/cradle".into()));
        assert_eq!(
            with(&[("XDG_DATA_HOME", "x"), ("HOME", "/h")], false),
            Some("/h/.local/share/cradle".into())
        );
        assert_eq!(with(&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")], false), Some("/x/cradle".into()));
        assert_eq!(with(&[], false), None);
    }
}

//! The state directory: the image store and the list of pods. `$CRADLE_HOME`, else `/var/lib/cradle` for root and
//! `$XDG_DATA_HOME/cradle` (`~/.local/share/cradle`) for others.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use image::Store;

use crate::failure::Failure;

/// The state directory.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    path: PathBuf,
}

impl Home {
    /// The directory that the environment names; it need not exist yet.
    pub(crate) fn from_environment() -> Result<Self, Failure> {
        let root = rustix::process::geteuid().is_root();
        choose(root, &|name| std::env::var_os(name)).map(|path| Self { path }).ok_or_else(|| {
            Failure::new("cannot find a directory for images")
                .hint("set CRADLE_HOME, or HOME, to an absolute path")
        })
    }

    /// The directory at a known place.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The directory itself, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the image store, which is made where it is missing.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        let store = Store::open(&self.path.join("store"));
        Ok(store.with_context(|| format!("cannot use {}", self.path.display()))?)
    }

    /// Where templates of writable disks are kept.
    pub(crate) fn templates(&self) -> PathBuf {
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

//! The runtime package of a pod: kernel, initramfs and `cradle.json`. Found when a pod is made, read through the
//! pod's `cradle` link when it is run.

use std::io;
use std::path::{Component, Path, PathBuf};

use spec::PackageSpec;
use spec::package::Machine;
use thiserror::Error;

use crate::dir::read_bounded;

/// The folder's name where a package for such machines is looked for.
fn folder_name(machine: Machine) -> &'static str {
    match machine {
        Machine::Default => "pkg-default",
        Machine::Snp => "pkg-snp",
    }
}

/// Why a folder is no runtime package.
#[derive(Debug, Error)]
pub enum PackageError {
    /// A file of it could not be read.
    #[error("cannot read the runtime package's {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `cradle.json` is not what it should be.
    #[error("{} is no runtime package that this program reads", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// Another version.
    #[error("{} has version {found}, this program reads {known}", .path.display(), known = spec::package::VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// There is none at any of the places.
    #[error("there is no runtime package at {0}")]
    Missing(String),
    /// The one that was named is for machines of another kind.
    #[error("{} is no runtime package for {} machines", .path.display(), .wanted.name())]
    Machine {
        /// The package.
        path: PathBuf,
        /// The kind that is wanted.
        wanted: Machine,
    },
    /// A file name with a folder in it.
    #[error("{} names \"{name}\", which is not a file name inside the package", .path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
}

/// A runtime package that has been read.
#[derive(Clone, Debug)]
pub struct Package {
    /// The folder, without links.
    pub path: PathBuf,
    /// What `cradle.json` says.
    pub spec: PackageSpec,
}

impl Package {
    /// Reads the package in a folder, or behind a link to one.
    ///
    /// # Errors
    /// A file of it is missing or unreadable, of another version, or names what is not its own.
    pub fn open(folder: &Path) -> Result<Self, PackageError> {
        let read = |path: &Path, source| PackageError::Read { path: path.to_owned(), source };
        let path = folder.canonicalize().map_err(|source| read(folder, source))?;
        let file = path.join("cradle.json");
        let bytes = read_bounded(&file, 1 << 20).map_err(|source| read(&file, source))?;
        let parse = |source| PackageError::Parse { path: file.clone(), source };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(parse)?;
        let found = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found != u64::from(spec::package::VERSION) {
            return Err(PackageError::Version { path: file, found });
        }
        let spec: PackageSpec = serde_json::from_value(value).map_err(parse)?;
        let stub = spec.snp.as_ref().map(|snp| &snp.stub);
        for name in [&spec.kernel.kernel, &spec.kernel.initrd].into_iter().chain(stub) {
            if !is_file_name(name) {
                return Err(PackageError::Name { path: file, name: name.clone() });
            }
            std::fs::metadata(path.join(name)).map_err(|source| read(&path.join(name), source))?;
        }
        Ok(Self { path, spec })
    }

    /// The kernel's path.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.path.join(&self.spec.kernel.kernel)
    }

    /// The initramfs's path.
    #[must_use]
    pub fn initramfs(&self) -> PathBuf {
        self.path.join(&self.spec.kernel.initrd)
    }

    /// Finds the package for new pods on such machines: `$CRADLE_PKG`, beside the executable, installed.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is one for others.
    pub fn find(machine: Machine) -> Result<Self, PackageError> {
        let named = std::env::var_os("CRADLE_PKG").map(PathBuf::from);
        let places = places(folder_name(machine), named, std::env::current_exe().ok());
        let Some(folder) = places.iter().find(|folder| folder.join("cradle.json").exists()) else {
            let looked: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            return Err(PackageError::Missing(looked.join(" or ")));
        };
        let package = Self::open(folder)?;
        if package.spec.machine != machine {
            return Err(PackageError::Machine { path: package.path, wanted: machine });
        }
        Ok(package)
    }
}

/// Where a package can be. A named one is the only place, so that a wrong name is not passed over.
fn places(name: &str, named: Option<PathBuf>, executable: Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(named) = named.filter(|named| !named.as_os_str().is_empty()) {
        return vec![named];
    }
    let folder = executable.as_deref().and_then(Path::parent).unwrap_or(Path::new("/usr/local/bin"));
    let mut places = vec![folder.join(name)];
    // target/release/kcradle, with the packages in target/.
    places.extend(folder.parent().map(|target| target.join(name)));
    places.extend(folder.parent().map(|prefix| prefix.join("lib/cradle").join(name)));
    places
}

fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
        && !name.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_order() {
        assert_eq!(
            places("pkg-default", Some("/x".into()), Some("/a/bin/kcradle".into())),
            [PathBuf::from("/x")]
        );
        let found = places("pkg-default", None, Some("/w/target/release/kcradle".into()));
        assert_eq!(
            found,
            ["/w/target/release/pkg-default", "/w/target/pkg-default", "/w/target/lib/cradle/pkg-default"]
                .map(PathBuf::from)
        );
    }

    #[test]
    fn a_package_names_files_of_its_own_only() {
        let dir = tempfile::tempdir().unwrap();
        let write = |version: u32, kernel: &str| {
            let json = format!(
                r#"{{"version":{version},"machine":"default","kernel":{{"kernel":"{kernel}","initrd":"i","release":"6"}}}}"#
            );
            std::fs::write(dir.path().join("cradle.json"), json).unwrap();
        };
        std::fs::write(dir.path().join("i"), "").unwrap();
        std::fs::write(dir.path().join("k"), "").unwrap();
        write(spec::package::VERSION, "k");
        assert!(Package::open(dir.path()).is_ok());
        write(2, "k");
        assert!(matches!(Package::open(dir.path()), Err(PackageError::Version { found: 2, .. })));
        for name in ["../k", "/etc/passwd", ".", "..", "k/", ""] {
            write(spec::package::VERSION, name);
            assert!(matches!(Package::open(dir.path()), Err(PackageError::Name { .. })), "{name}");
        }
        write(spec::package::VERSION, "gone");
        assert!(matches!(Package::open(dir.path()), Err(PackageError::Read { .. })));
    }
}

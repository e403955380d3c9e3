//! A pod's directory, read for its measurement: `launch.json` and, behind the link `cradle`, the runtime package.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use snp_layout::layout::LAUNCH_MAX;
use snp_layout::map::{STAGING_SIZE, STUB_MAX};
use spec::PackageSpec;

use crate::measure::{DocumentError, MeasureError, Measurement, PodFiles, measure, pages};

/// The largest `cradle.json` in bytes.
const PACKAGE_MAX: u64 = 1 << 20;
/// The largest document of a measurement in bytes.
const DOCUMENT_MAX: u64 = 1 << 20;

/// Why a pod or a document of one cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any that could be launched.
    #[error("{} has more than {most} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How many it can have.
        most: u64,
    },
    /// `cradle.json` is not what it should be.
    #[error("{} is no runtime package that this program reads", path.display())]
    Package {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file of the package is elsewhere.
    #[error("the runtime package names {name:?}, which is not a file name inside of it")]
    Name {
        /// The name.
        name: String,
    },
    /// The pod cannot be measured.
    #[error("cannot measure {}", path.display())]
    Measure {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: MeasureError,
    },
    /// A page cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no measurement.
    #[error("cannot use {}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: DocumentError,
    },
}

impl PodError {
    /// What the user can do.
    pub(super) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Measure { source: MeasureError::Machine, .. } => {
                "only pods of the SNP variant are measured: `kcradle summon --variant snp`"
            }
            Self::Measure { source: MeasureError::Changed { .. }, .. } => {
                "the runtime package was changed, or is half-installed: install it again"
            }
            Self::Document { .. } => "`attest measure --json` writes such files",
            Self::Read { .. } | Self::TooLarge { .. } => "see that the path is that of a pod's directory",
            Self::Write { .. } => "pages go to a directory that is not there yet",
            Self::Package { .. } | Self::Name { .. } | Self::Measure { .. } => return None,
        })
    }
}

/// Measures the pod in a directory, or reads what was measured of one from a file.
pub(super) fn measurement(path: &Path) -> Result<Measurement, PodError> {
    if !path.is_file() {
        return of_pod(path);
    }
    let document = read(path, DOCUMENT_MAX)?;
    Measurement::parse(&document).map_err(|source| PodError::Document { path: path.to_owned(), source })
}

/// Measures the pod in a directory.
pub(super) fn of_pod(path: &Path) -> Result<Measurement, PodError> {
    with_files(path, measure)
}

/// Writes the pages of the pod in a directory to another, which must not be there yet: a file a run.
pub(super) fn write_pages(path: &Path, out: &Path) -> Result<(), PodError> {
    let runs = with_files(path, pages)?;
    let failed = |path: &Path, source| PodError::Write { path: path.to_owned(), source };
    fs::create_dir(out).map_err(|source| failed(out, source))?;
    for run in runs {
        let file = out.join(run.name);
        fs::write(&file, run.bytes).map_err(|source| failed(&file, source))?;
    }
    Ok(())
}

/// Reads a pod's files and does something with them.
fn with_files<T>(
    path: &Path,
    work: impl FnOnce(&PodFiles<'_>) -> Result<T, MeasureError>,
) -> Result<T, PodError> {
    let launch = read(&path.join("launch.json"), LAUNCH_MAX as u64)?;
    let folder = path.join("cradle");
    let file = folder.join("cradle.json");
    let package = read(&file, PACKAGE_MAX)?;
    let package: PackageSpec =
        serde_json::from_slice(&package).map_err(|source| PodError::Package { path: file, source })?;
    let failed = |source| PodError::Measure { path: path.to_owned(), source };
    let stub = &package.snp.as_ref().ok_or_else(|| failed(MeasureError::Machine))?.stub;
    let kernel = read_of_package(&folder, &package.kernel.kernel, STAGING_SIZE)?;
    let initramfs = read_of_package(&folder, &package.kernel.initrd, STAGING_SIZE)?;
    let stub = read_of_package(&folder, stub, STUB_MAX)?;
    let files =
        PodFiles { launch: &launch, package: &package, kernel: &kernel, initramfs: &initramfs, stub: &stub };
    work(&files).map_err(failed)
}

fn read_of_package(folder: &Path, name: &str, most: u64) -> Result<Vec<u8>, PodError> {
    let inside = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    if !inside {
        return Err(PodError::Name { name: name.to_owned() });
    }
    read(&folder.join(name), most)
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, PodError> {
    let failed = |source| PodError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let length = file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if length as u64 > most {
        return Err(PodError::TooLarge { path: path.to_owned(), most });
    }
    Ok(bytes)
}

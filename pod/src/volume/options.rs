//! What is asked of a new volume: the driver and its options, as in `docker volume create -d DRIVER -o NAME=VALUE`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use thiserror::Error;

use super::{ANONYMOUS, DEFAULT_SIZE, GFS, Kind, LOCAL};
use crate::size::{SizeError, parse_disk};

/// Why a volume cannot be as it is asked for.
#[derive(Debug, Error)]
pub enum OptionError {
    /// A driver that is not there, in Docker's words.
    #[error("error looking up volume plugin {0}: plugin \"{0}\" not found")]
    Driver(String),
    /// A size that is none.
    #[error("invalid size: {0}")]
    Size(#[source] SizeError),
    /// An option that the driver does not have.
    #[error("create: unknown option {name:?} of the {driver} driver: it has {known}")]
    Unknown {
        /// The option.
        name: String,
        /// The driver.
        driver: &'static str,
        /// Its options.
        known: &'static str,
    },
    /// An option with another value than it can have.
    #[error("create: {name}={value} is not possible: {why}")]
    Value {
        /// The option.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is.
        why: &'static str,
    },
}

/// A volume to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// `None`: whichever a volume of that name has, else `local`.
    pub driver: Option<String>,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// The driver's.
    pub options: BTreeMap<String, String>,
    /// Bytes of its disk where the options say nothing, and it has one; 0 takes [`DEFAULT_SIZE`].
    pub size: u64,
}

impl Wanted {
    /// A volume that a container has for itself, under a name that was made up.
    #[must_use]
    pub fn anonymous(mut self, name: String) -> Self {
        self.name = name;
        self.labels.insert(ANONYMOUS.to_owned(), String::new());
        self
    }

    /// The driver that is asked for.
    ///
    /// # Errors
    /// One that is not there.
    pub fn driver(&self) -> Result<Option<&'static str>, OptionError> {
        match self.driver.as_deref() {
            None | Some("") => Ok(None),
            Some(LOCAL | "default") => Ok(Some(LOCAL)),
            Some(GFS) => Ok(Some(GFS)),
            Some(other) => Err(OptionError::Driver(other.to_owned())),
        }
    }

    /// Where its files are to be.
    ///
    /// # Errors
    /// A driver or option that is not there.
    pub fn kind(&self) -> Result<Kind, OptionError> {
        match self.driver()? {
            Some(GFS) => directory(&self.options),
            _ => disk(&self.options, if self.size == 0 { DEFAULT_SIZE } else { self.size }),
        }
    }
}

fn disk(options: &BTreeMap<String, String>, mut size: u64) -> Result<Kind, OptionError> {
    let mut device = None;
    for (name, value) in options {
        match name.as_str() {
            "size" => size = parse_disk(value).map_err(OptionError::Size)?,
            // As options of a mount: what those of a tmpfs are given as.
            "o" => {
                for option in value.split(',') {
                    let text = option.strip_prefix("size=").ok_or(OptionError::Value {
                        name: "o",
                        value: value.clone(),
                        why: "write o=size=20g, or size=20g",
                    })?;
                    size = parse_disk(text).map_err(OptionError::Size)?;
                }
            }
            "type" if value == "ext4" => {}
            "type" => {
                let why = "a volume is an ext4 of its own; mount a directory of the host with -v /path:/place, and memory with \
                           --tmpfs";
                return Err(OptionError::Value { name: "type", value: value.clone(), why });
            }
            "device" if value.starts_with('/') => device = Some(PathBuf::from(value)),
            "device" => {
                let why = "write the absolute path of a block device or a file";
                return Err(OptionError::Value { name: "device", value: value.clone(), why });
            }
            other => return Err(unknown(other, LOCAL, "size, device and type=ext4")),
        }
    }
    match device {
        None => Ok(Kind::Disk { size }),
        Some(_) if options.contains_key("size") || options.contains_key("o") => Err(OptionError::Value {
            name: "size",
            value: options.get("size").or(options.get("o")).cloned().unwrap_or_default(),
            why: "a device or file that is there has a size",
        }),
        Some(path) => Ok(Kind::Device { path }),
    }
}

fn directory(options: &BTreeMap<String, String>) -> Result<Kind, OptionError> {
    let mut many_writers = false;
    for (name, value) in options {
        match (name.as_str(), value.as_str()) {
            ("writers", "many") => many_writers = true,
            ("writers", "one") => many_writers = false,
            ("writers", _) => {
                return Err(OptionError::Value {
                    name: "writers",
                    value: value.clone(),
                    why: "write one or many",
                });
            }
            (other, _) => return Err(unknown(other, GFS, "writers=one and writers=many")),
        }
    }
    Ok(Kind::Directory { many_writers })
}

fn unknown(name: &str, driver: &'static str, known: &'static str) -> OptionError {
    OptionError::Unknown { name: name.to_owned(), driver, known }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(driver: &str, options: &[(&str, &str)]) -> Result<Kind, String> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let wanted = Wanted { driver: Some(driver.to_owned()), options, ..Wanted::default() };
        wanted.kind().map_err(|error| error.to_string())
    }

    #[test]
    fn options_say_what_it_is() {
        assert_eq!(kind("", &[]), Ok(Kind::Disk { size: DEFAULT_SIZE }));
        for options in [&[("size", "20g")][..], &[("o", "size=20g")], &[("type", "ext4"), ("size", "20G")]] {
            assert_eq!(kind("local", options), Ok(Kind::Disk { size: 20 << 30 }), "{options:?}");
        }
        let device = Kind::Device { path: "/dev/x".into() };
        assert_eq!(kind("local", &[("type", "ext4"), ("device", "/dev/x")]), Ok(device));
        assert_eq!(kind("gfs", &[]), Ok(Kind::Directory { many_writers: false }));
        assert_eq!(kind("gfs", &[("writers", "many")]), Ok(Kind::Directory { many_writers: true }));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (driver, options, words) in [
            ("nfs", &[][..], "plugin \"nfs\" not found"),
            ("local", &[("size", "1")], "invalid size"),
            ("local", &[("o", "uid=1000")], "o=uid=1000 is not possible"),
            ("local", &[("type", "nfs")], "type=nfs is not possible"),
            ("local", &[("device", "x")], "device=x is not possible"),
            ("local", &[("device", "/x"), ("size", "1g")], "size=1g is not possible"),
            ("local", &[("colour", "red")], "unknown option \"colour\" of the local driver"),
            ("gfs", &[("size", "1g")], "unknown option \"size\" of the gfs driver"),
            ("gfs", &[("writers", "two")], "writers=two is not possible"),
        ] {
            let error = kind(driver, options).unwrap_err();
            assert!(error.contains(words), "{options:?}: {error}");
        }
    }
}

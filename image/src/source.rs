//! Where an image comes from, as a user names it: a bare reference or `scheme:rest`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::reference::{Reference, ReferenceError};

/// A source of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A bare name: the own store first, then the registry.
    Name(Reference),
    /// `docker://NAME`: the registry.
    Registry(Reference),
    /// `docker-archive:FILE[:NAME]`: what `docker save` wrote.
    DockerArchive {
        /// The archive.
        file: PathBuf,
        /// Which of its images; needed where there are several.
        name: Option<Reference>,
    },
    /// `oci:DIR[:TAG]`: an OCI image layout.
    OciLayout {
        /// The layout's directory.
        dir: PathBuf,
        /// Which of its images; needed where there are several.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: a tar archive of an OCI image layout.
    OciArchive {
        /// The archive.
        file: PathBuf,
        /// Which of its images; needed where there are several.
        tag: Option<String>,
    },
    /// `docker-daemon:NAME`: an image of the local Docker daemon.
    DockerDaemon(Reference),
    /// `bundle:DIR`: an unpacked image, `rootfs/` and `config.json` of the OCI runtime specification.
    Bundle(PathBuf),
}

/// Why a text names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The reference in it is malformed.
    #[error("invalid image name {text:?}")]
    Reference {
        /// The reference.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// A scheme without the path that it needs.
    #[error("{0}: needs a path behind the colon")]
    NoPath(String),
}

/// Where an image was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The own content store.
    Store,
    /// A registry.
    Registry,
    /// An archive, layout or bundle.
    File,
    /// The local Docker daemon.
    Daemon,
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let Some((scheme, rest)) = text.split_once(':') else { return Ok(Self::Name(reference(text)?)) };
        match scheme {
            "docker" if rest.starts_with("//") => Ok(Self::Registry(reference(&rest[2..])?)),
            "docker-daemon" => Ok(Self::DockerDaemon(reference(rest)?)),
            "docker-archive" => {
                let (file, name) = path_and_name(scheme, rest)?;
                Ok(Self::DockerArchive { file, name: name.map(reference).transpose()? })
            }
            "oci" => {
                let (dir, tag) = path_and_name(scheme, rest)?;
                Ok(Self::OciLayout { dir, tag: tag.map(str::to_owned) })
            }
            "oci-archive" => {
                let (file, tag) = path_and_name(scheme, rest)?;
                Ok(Self::OciArchive { file, tag: tag.map(str::to_owned) })
            }
            "bundle" if rest.is_empty() => Err(SourceError::NoPath(scheme.to_owned())),
            "bundle" => Ok(Self::Bundle(PathBuf::from(rest))),
            _ => Ok(Self::Name(reference(text)?)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, scheme: &str, path: &Path, name: Option<String>| {
            write!(f, "{scheme}:{}", path.display())?;
            name.map_or(Ok(()), |name| write!(f, ":{name}"))
        };
        match self {
            Self::Name(name) => f.write_str(&name.familiar()),
            Self::Registry(name) => write!(f, "docker://{}", name.familiar()),
            Self::DockerArchive { file, name } => {
                named(f, "docker-archive", file, name.as_ref().map(Reference::familiar))
            }
            Self::OciLayout { dir, tag } => named(f, "oci", dir, tag.clone()),
            Self::OciArchive { file, tag } => named(f, "oci-archive", file, tag.clone()),
            Self::DockerDaemon(name) => write!(f, "docker-daemon:{}", name.familiar()),
            Self::Bundle(dir) => named(f, "bundle", dir, None),
        }
    }
}

fn reference(text: &str) -> Result<Reference, SourceError> {
    text.parse().map_err(|source| SourceError::Reference { text: text.to_owned(), source })
}

/// Splits `PATH[:NAME]` at the first colon, as skopeo and podman do.
fn path_and_name<'a>(scheme: &str, rest: &'a str) -> Result<(PathBuf, Option<&'a str>), SourceError> {
    let (path, name) = rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name)));
    if path.is_empty() {
        return Err(SourceError::NoPath(scheme.to_owned()));
    }
    Ok((PathBuf::from(path), name.filter(|name| !name.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_told_from_names() {
        let name = |text: &str| text.parse::<Reference>().unwrap();
        let table = [
            ("redis:7", Source::Name(name("redis:7"))),
            ("localhost:5000/a", Source::Name(name("localhost:5000/a"))),
            ("oci", Source::Name(name("oci"))),
            ("docker://redis", Source::Registry(name("redis"))),
            ("docker-daemon:redis:7", Source::DockerDaemon(name("redis:7"))),
            ("docker-archive:/a/b.tar", Source::DockerArchive { file: "/a/b.tar".into(), name: None }),
            (
                "docker-archive:b.tar:a:1",
                Source::DockerArchive { file: "b.tar".into(), name: Some(name("a:1")) },
            ),
            ("oci:/a/b", Source::OciLayout { dir: "/a/b".into(), tag: None }),
            ("oci:b:v1", Source::OciLayout { dir: "b".into(), tag: Some("v1".into()) }),
            ("oci-archive:b.tar:v1", Source::OciArchive { file: "b.tar".into(), tag: Some("v1".into()) }),
            ("bundle:/b:c", Source::Bundle("/b:c".into())),
        ];
        for (text, source) in table {
            assert_eq!(text.parse(), Ok(source), "{text}");
        }
    }

    #[test]
    fn gaps_are_refused() {
        assert_eq!("oci:".parse::<Source>(), Err(SourceError::NoPath("oci".into())));
        assert!(matches!("docker://".parse::<Source>(), Err(SourceError::Reference { .. })));
        assert!(matches!("Redis".parse::<Source>(), Err(SourceError::Reference { .. })));
    }
}

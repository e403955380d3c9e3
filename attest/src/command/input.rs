//! Files that commands read: all may come from strangers, so each has a largest size.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;

use crate::certificate::{Bundle, BundleError, Certificate};
use crate::check::Class;
use crate::crl::Crl;
use crate::hex::HexError;
use crate::policy::{Policy, PolicyError};

use super::CODE_FAILED;

/// The largest file, in bytes: a list of revoked certificates may be long.
const SIZE_MAX: u64 = 8 << 20;
/// The exit code of arguments that do not go together.
const CODE_USAGE: u8 = 2;

/// Why an argument or file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that no one needs.
    #[error("{} has more than {SIZE_MAX} bytes", .0.display())]
    TooLarge(PathBuf),
    /// No certificates.
    #[error("{} holds no certificate that can be used", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BundleError,
    },
    /// No list of revoked certificates.
    #[error("{} is no list of revoked certificates of AMD's form", path.display())]
    Crl {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: der::Error,
    },
    /// No policy.
    #[error("cannot use the policy {}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PolicyError,
    },
    /// No public key.
    #[error("{} is no public key", .0.display())]
    PublicKey(PathBuf),
    /// A measurement with something else in a digest's place.
    #[error("{} has a digest that is none", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: HexError,
    },
    /// Arguments that do not go together, or say too little.
    #[error("{0}")]
    Usage(&'static str),
}

impl InputError {
    /// What the user can do.
    pub(super) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Read { .. } => "see that the path is right",
            Self::TooLarge(_) => "see that it is the right file",
            Self::Certificates { .. } => {
                "PEM, DER and the table of certificates that a guest gets from its host can be read; \
                 AMD's key service (kdsintf.amd.com) gives DER for a VCEK and PEM for a chain"
            }
            Self::Crl { .. } => "AMD's are at https://kdsintf.amd.com/vcek/v1/PRODUCT/crl",
            Self::Policy { .. } => "docs/snp.md, \"The policy file\", has all fields",
            Self::PublicKey(_) => "`openssl x509 -pubkey -noout` writes that of a certificate",
            Self::Digest { .. } => "`attest measure --json` writes such files",
            Self::Usage(_) => "`verify --help` has examples",
        })
    }

    /// The process's exit code.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. } | Self::TooLarge(_) => CODE_FAILED,
            Self::Certificates { .. }
            | Self::Crl { .. }
            | Self::Policy { .. }
            | Self::PublicKey(_)
            | Self::Digest { .. } => Class::Malformed.exit_code(),
            Self::Usage(_) => CODE_USAGE,
        }
    }
}

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, InputError> {
    let failed = |source| InputError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let length = file.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if length as u64 > SIZE_MAX {
        return Err(InputError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

/// The certificates of some files, in any form.
pub(super) fn certificates(paths: &[PathBuf]) -> Result<Vec<Certificate>, InputError> {
    let mut all = Vec::new();
    for path in paths {
        let failed = |source| InputError::Certificates { path: path.clone(), source };
        all.extend(Bundle::parse(&read(path)?).map_err(failed)?);
    }
    Ok(all)
}

/// The lists of some files.
pub(super) fn crls(paths: &[PathBuf]) -> Result<Vec<Crl>, InputError> {
    let parse = |path: &PathBuf| {
        Crl::parse(&read(path)?).map_err(|source| InputError::Crl { path: path.clone(), source })
    };
    paths.iter().map(parse).collect()
}

/// The policy of a file, or the strict one.
pub(super) fn policy(path: Option<&Path>) -> Result<Policy, InputError> {
    let Some(path) = path else { return Ok(Policy::default()) };
    Policy::parse(&read(path)?).map_err(|source| InputError::Policy { path: path.to_owned(), source })
}

/// A SubjectPublicKeyInfo's DER.
pub(super) fn public_key(path: &Path) -> Result<Vec<u8>, InputError> {
    let bytes = read(path)?;
    if bytes.first() == Some(&0x30) {
        return Ok(bytes);
    }
    let key = SubjectPublicKeyInfoDer::from_pem_slice(&bytes);
    key.map(|key| key.to_vec()).map_err(|_| InputError::PublicKey(path.to_owned()))
}

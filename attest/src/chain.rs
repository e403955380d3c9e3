//! From the certificate of a signing key to a pinned root.

use crate::certificate::{Certificate, SignatureError};
use crate::product::Product;
use crate::report::Signer;
use crate::roots::{Anchor, Roots};

/// Why a certificate does not lead to a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Nobody by that name is pinned or given.
    #[error("no certificate of its issuer {0:?}, which is not pinned")]
    NoIssuer(String),
    /// The issuer has not signed it.
    #[error("{name:?} is not signed by {by:?}")]
    Link {
        /// The certificate.
        name: String,
        /// Its issuer.
        by: String,
        /// What is wrong.
        #[source]
        source: SignatureError,
    },
    /// No pinned root has issued the intermediate.
    #[error("{0:?} is issued by no pinned root")]
    Unpinned(String),
    /// The names are not those of AMD's hierarchy.
    #[error("a {subject:?} issued by {issuer:?} is no endorsement key")]
    Names {
        /// The key's certificate.
        subject: String,
        /// Its issuer.
        issuer: String,
    },
    /// An extension that must be understood is not.
    #[error("{name:?} has the critical extension {id}, which is not known")]
    Critical {
        /// The certificate.
        name: String,
        /// The extension.
        id: String,
    },
}

/// Certificates of which each is signed by the next, up to a pinned root.
#[derive(Clone, Debug)]
pub struct Chain {
    pub(crate) product: Product,
    pub(crate) key: Certificate,
    pub(crate) intermediate: Certificate,
    pub(crate) root: Certificate,
}

impl Chain {
    /// Finds the chain of a signing key's certificate. Intermediates may be among what was given, roots may not.
    ///
    /// # Errors
    /// There is none. Dates are not looked at.
    pub fn build(key: &Certificate, given: &[Certificate], roots: &Roots) -> Result<Self, ChainError> {
        let issuer = key.issuer_name();
        if signer(key).is_none() {
            return Err(ChainError::Names { subject: key.subject_name(), issuer });
        }
        let mut failure = ChainError::NoIssuer(issuer.clone());
        let pinned = roots.anchors().iter().flat_map(|anchor| &anchor.intermediates);
        for intermediate in pinned.chain(given).filter(|known| known.subject_name() == issuer) {
            match link(key, intermediate, roots) {
                Ok(chain) => return Ok(chain),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Whether all three hold at a time, in seconds since 1970.
    #[must_use]
    pub fn holds_at(&self, time: u64) -> bool {
        self.certificates().into_iter().all(|certificate| {
            let (from, to) = certificate.validity();
            (from..=to).contains(&time)
        })
    }

    /// The three certificates, the signing key's first.
    #[must_use]
    pub fn certificates(&self) -> [&Certificate; 3] {
        [&self.key, &self.intermediate, &self.root]
    }
}

/// The kind of key that a certificate is for, as its own name and its issuer's say together.
pub(crate) fn signer(key: &Certificate) -> Option<Signer> {
    let issuer = key.issuer_name();
    match (key.subject_name().as_str(), issuer.strip_prefix("SEV-")?) {
        ("SEV-VLEK", by) if by.starts_with("VLEK-") => Some(Signer::Vlek),
        ("SEV-VCEK", by) if !by.starts_with("VLEK-") => Some(Signer::Vcek),
        _ => None,
    }
}

/// The chain through one intermediate.
fn link(key: &Certificate, intermediate: &Certificate, roots: &Roots) -> Result<Chain, ChainError> {
    let failed = |certificate: &Certificate, source| ChainError::Link {
        name: certificate.subject_name(),
        by: certificate.issuer_name(),
        source,
    };
    let anchor =
        anchor(intermediate, roots).ok_or_else(|| ChainError::Unpinned(intermediate.subject_name()))?;
    intermediate.verify_issued_by(&anchor.root).map_err(|source| failed(intermediate, source))?;
    key.verify_issued_by(intermediate).map_err(|source| failed(key, source))?;
    let chain = Chain {
        product: anchor.product,
        key: key.clone(),
        intermediate: intermediate.clone(),
        root: anchor.root.clone(),
    };
    for certificate in chain.certificates() {
        if let Some(id) = certificate.unknown_critical() {
            return Err(ChainError::Critical { name: certificate.subject_name(), id });
        }
    }
    Ok(chain)
}

/// The root by the name that an intermediate gives.
fn anchor<'a>(intermediate: &Certificate, roots: &'a Roots) -> Option<&'a Anchor> {
    roots.anchors().iter().find(|anchor| anchor.root.subject_name() == intermediate.issuer_name())
}

//! AMD's roots and intermediates, a pair a product: what every chain has to end at. They are part of the program, because a
//! root that comes with a report says nothing.
//!
//! The certificates are AMD's own, from its key distribution service (`/vcek/v1/PRODUCT/cert_chain`).

use crate::certificate::{Bundle, Certificate};
use crate::product::Product;

/// The pinned certificates: product, root, intermediates.
const AMD: [(Product, &str, &str); 3] = [
    (Product::Milan, include_str!("roots/milan.ark.pem"), include_str!("roots/milan.ask.pem")),
    (Product::Genoa, include_str!("roots/genoa.ark.pem"), include_str!("roots/genoa.ask.pem")),
    (Product::Turin, include_str!("roots/turin.ark.pem"), include_str!("roots/turin.ask.pem")),
];

/// The root of a product, with what is known to be issued by it.
#[derive(Clone, Debug)]
pub struct Anchor {
    pub(crate) product: Product,
    pub(crate) root: Certificate,
    pub(crate) intermediates: Vec<Certificate>,
}

/// All roots that are trusted.
#[derive(Clone, Debug)]
pub struct Roots {
    anchors: Vec<Anchor>,
}

impl Roots {
    /// AMD's.
    #[must_use]
    pub fn amd() -> Self {
        let anchor = |(product, root, intermediate): &(Product, &str, &str)| {
            let root = Bundle::parse(root.as_bytes()).ok()?.into_iter().next()?;
            let intermediates = Bundle::parse(intermediate.as_bytes()).ok()?;
            Some(Anchor { product: *product, root, intermediates })
        };
        Self { anchors: AMD.iter().filter_map(anchor).collect() }
    }

    /// None at all: every chain is refused, all else is judged.
    #[must_use]
    pub fn none() -> Self {
        Self { anchors: Vec::new() }
    }

    /// Others, for tests.
    #[cfg(test)]
    pub(crate) fn of(anchors: Vec<Anchor>) -> Self {
        Self { anchors }
    }

    /// The roots, in the order of products.
    pub(crate) fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::hex;

    #[test]
    fn every_root_is_there_and_is_amds() {
        let roots = Roots::amd();
        let found: Vec<_> = roots
            .anchors()
            .iter()
            .map(|anchor| {
                anchor.root.verify_issued_by(&anchor.root).unwrap();
                assert_eq!(anchor.intermediates.len(), 1);
                anchor.intermediates[0].verify_issued_by(&anchor.root).unwrap();
                let name = anchor.product.name();
                assert_eq!(anchor.root.subject_name(), format!("ARK-{name}"));
                assert_eq!(anchor.intermediates[0].subject_name(), format!("SEV-{name}"));
                (anchor.product, hex::encode(&Sha256::digest(anchor.root.der()))[..16].to_owned())
            })
            .collect();
        assert_eq!(
            found,
            [
                (Product::Milan, "69d063b45344d26a".to_owned()),
                (Product::Genoa, "4c6598d19c18719c".to_owned()),
                (Product::Turin, "1f084161a44bb6d9".to_owned()),
            ]
        );
    }

    #[test]
    fn no_root_vouches_for_another_product() {
        let roots = Roots::amd();
        for (place, anchor) in roots.anchors().iter().enumerate() {
            for (other, issuer) in roots.anchors().iter().enumerate().filter(|(other, _)| *other != place) {
                assert!(
                    anchor.intermediates[0].verify_issued_by(&issuer.root).is_err(),
                    "{place} by {other}"
                );
            }
        }
    }
}

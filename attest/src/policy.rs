//! What a verifier wants of a report beyond its being genuine: a JSON file (docs/snp.md, "The policy file").

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::hex;
use crate::product::Product;
use crate::tcb::{Component, Tcb};

/// The version of the policy file.
const VERSION: u32 = 1;

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// No JSON, or not of a policy's form.
    #[error("it is no policy")]
    Parse(#[source] serde_json::Error),
    /// A version that is not known.
    #[error("policy version {0}; {VERSION} is known")]
    Version(u32),
    /// A byte that the product does not have.
    #[error("minimum_tcb of {0}: \"fmc\" is Turin's, and every Turin has one")]
    Fmc(Product),
}

/// What is wanted. The default is what is wanted where nothing is said.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    version: u32,
    /// Products that may be; empty: all.
    pub products: Vec<Product>,
    /// The oldest TCB version of each product; a product that is not among them is refused, unless none is.
    pub minimum_tcb: BTreeMap<Product, MinimumTcb>,
    /// Whether the key may be a VLEK.
    pub allow_vlek: bool,
    /// Cloud providers whose VLEK it may be; empty: all.
    pub csp_ids: Vec<String>,
    /// Chips that may be; empty: all.
    pub chip_ids: Vec<Bytes<64>>,
    /// Whether the chip may be masked, so that the certificate cannot be compared with it.
    pub allow_masked_chip_id: bool,
    /// Whether a list of revoked certificates must be there.
    pub require_crl: bool,
    /// Whether the host may read and write the guest's memory.
    pub allow_debug: bool,
    /// Whether a migration agent may have the guest.
    pub allow_migration: bool,
    /// Whether the guest may share a core with others.
    pub allow_smt: bool,
    /// The least privileged level that may have asked for the report.
    pub max_vmpl: u32,
    /// ID keys that may have signed the launch; empty: any or none.
    pub id_key_digests: Vec<Bytes<48>>,
    /// Author keys that may have certified the ID key; empty: any or none.
    pub author_key_digests: Vec<Bytes<48>>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            version: 0,
            products: Vec::new(),
            minimum_tcb: BTreeMap::new(),
            allow_vlek: false,
            csp_ids: Vec::new(),
            chip_ids: Vec::new(),
            allow_masked_chip_id: false,
            require_crl: false,
            allow_debug: false,
            allow_migration: false,
            allow_smt: true,
            max_vmpl: 0,
            id_key_digests: Vec::new(),
            author_key_digests: Vec::new(),
        }
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// What is none: a field that is not known, a value of another type or length, no version.
    pub fn parse(json: &[u8]) -> Result<Self, PolicyError> {
        let policy: Self = serde_json::from_slice(json).map_err(PolicyError::Parse)?;
        if policy.version != VERSION {
            return Err(PolicyError::Version(policy.version));
        }
        let wrong = policy.minimum_tcb.iter().find(|(product, minimum)| {
            minimum.fmc.is_some() != Component::places(**product).contains(&Component::Fmc)
        });
        match wrong {
            Some((product, _)) => Err(PolicyError::Fmc(*product)),
            None => Ok(policy),
        }
    }
}

/// The oldest TCB version that may be.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct MinimumTcb {
    fmc: Option<u8>,
    bootloader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
}

impl MinimumTcb {
    /// The version, as a product has it.
    #[must_use]
    pub fn tcb(self, product: Product) -> Tcb {
        let number = |component| match component {
            Component::Fmc => self.fmc.unwrap_or_default(),
            Component::Bootloader => self.bootloader,
            Component::Tee => self.tee,
            Component::Snp => self.snp,
            Component::Microcode => self.microcode,
            Component::Reserved(_) => 0,
        };
        Tcb::new(product, Component::places(product).map(number))
    }
}

/// Bytes that are written in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<const N: usize>(pub [u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode_exact(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_strict() {
        let policy = Policy::parse(br#"{"version": 1}"#).unwrap();
        assert_eq!(policy, Policy { version: 1, ..Policy::default() });
        assert!(!policy.allow_debug && !policy.allow_migration && !policy.allow_vlek && policy.max_vmpl == 0);
    }

    #[test]
    fn a_minimum_is_read_as_the_product_has_it() {
        let policy = Policy::parse(
            br#"{"version": 1, "minimum_tcb": {
                "milan": {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219},
                "turin": {"fmc": 1, "bootloader": 1, "tee": 1, "snp": 4, "microcode": 81}}}"#,
        )
        .unwrap();
        let tcb = |product| policy.minimum_tcb[&product].tcb(product);
        assert_eq!(tcb(Product::Milan), Tcb::new(Product::Milan, [4, 0, 0, 0, 0, 0, 24, 219]));
        assert_eq!(tcb(Product::Turin), Tcb::new(Product::Turin, [1, 1, 1, 4, 0, 0, 0, 81]));
    }

    #[test]
    fn the_documents_example_is_one_and_its_table_is_whole() {
        let document = include_str!("../../docs/snp.md");
        let section = document.split("\n## The policy file\n").nth(1).unwrap().split("\n## ").next().unwrap();
        let example: String = section.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        let policy = Policy::parse(example.as_bytes()).unwrap();
        assert!(policy.require_crl && !policy.allow_smt && policy.products.len() == 2);
        let known = Policy::parse(br#"{"version": 1, "?": 0}"#).unwrap_err();
        let known = std::error::Error::source(&known).unwrap().to_string();
        let fields: Vec<&str> = known.split('`').skip(3).step_by(2).collect();
        assert_eq!(fields.len(), 14, "{known}");
        for field in fields {
            assert!(section.contains(&format!("\n| `{field}` |")), "{field} is not in the table");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for json in [
            r#""#,
            r#"{}"#,
            r#"{"version": 2}"#,
            r#"{"version": "1"}"#,
            r#"{"version": 1} x"#,
            r#"{"version": 1, "alow_debug": true}"#,
            r#"{"version": 1, "allow_debug": 1}"#,
            r#"{"version": 1, "allow_debug": null}"#,
            r#"{"version": 1, "allow_debug": false, "allow_debug": true}"#,
            r#"{"version": 1, "max_vmpl": -1}"#,
            r#"{"version": 1, "products": ["rome"]}"#,
            r#"{"version": 1, "id_key_digests": ["00"]}"#,
            r#"{"version": 1, "id_key_digests": "00"}"#,
            r#"{"version": 1, "minimum_tcb": {"milan": {"bootloader": 4, "tee": 0, "snp": 24}}}"#,
            r#"{"version": 1, "minimum_tcb": {"milan": {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 256}}}"#,
            r#"{"version": 1, "minimum_tcb": {"milan": {"fmc": 1, "bootloader": 4, "tee": 0, "snp": 24, "microcode": 1}}}"#,
            r#"{"version": 1, "minimum_tcb": {"turin": {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 1}}}"#,
        ] {
            assert!(Policy::parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}

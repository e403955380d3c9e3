//! The processors that are known: each has an AMD root of its own, and a layout of its TCB versions.
//!
//! AMD 56860 (SEV-SNP ABI) names a processor by CPUID family and model, AMD 57230 (VCEK) by a text.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A generation of EPYC processors, as AMD's key service counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004 and 8004: Genoa, Bergamo and Siena have one root.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl Product {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// The product of a family and model as CPUID leaf 1 has them, the extended parts added.
    #[must_use]
    pub fn of_cpuid(family: u8, model: u8) -> Option<Self> {
        match (family, model) {
            (0x19, 0x00..=0x0f) => Some(Self::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Self::Genoa),
            (0x1a, 0x00..=0x1f) => Some(Self::Turin),
            _ => None,
        }
    }

    /// The product of a certificate's `productName`, which may have a stepping: `Milan-B0`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        match name.split('-').next()? {
            "Milan" => Some(Self::Milan),
            "Genoa" | "Bergamo" | "Siena" => Some(Self::Genoa),
            "Turin" => Some(Self::Turin),
            _ => None,
        }
    }

    /// The name in AMD's certificates and addresses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// The bytes of a chip's id that its certificate names.
    #[must_use]
    pub fn hwid_length(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_and_names_lead_to_the_same_products() {
        for (family, model, name, product) in [
            (0x19, 0x01, "Milan-B0", Some(Product::Milan)),
            (0x19, 0x11, "Genoa", Some(Product::Genoa)),
            (0x19, 0xa0, "Siena-B1", Some(Product::Genoa)),
            (0x1a, 0x02, "Turin-B1", Some(Product::Turin)),
            (0x1a, 0x11, "Turin", Some(Product::Turin)),
            (0x19, 0x20, "Milano", None),
            (0x1a, 0x50, "Venice", None),
            (0x17, 0x31, "", None),
        ] {
            assert_eq!((Product::of_cpuid(family, model), Product::of_name(name)), (product, product));
        }
    }
}

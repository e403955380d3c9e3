//! TCB versions: which firmware and microcode a processor had, eight bytes of which each is a security version number.
//!
//! AMD 56860, section 2.2: the bytes' places are those of Milan and Genoa, or those that Turin brought.

use std::fmt;

use crate::product::Product;

/// What a byte of a TCB version counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The firmware's first mutable code; Turin alone.
    Fmc,
    /// The secure processor's boot loader.
    Bootloader,
    /// The secure processor's system.
    Tee,
    /// The SEV-SNP firmware.
    Snp,
    /// The microcode of all cores.
    Microcode,
    /// A byte that has no meaning yet, by its place.
    Reserved(u8),
}

impl Component {
    /// What is at each place of a product's TCB versions.
    #[must_use]
    pub fn places(product: Product) -> [Self; 8] {
        use Component::{Bootloader, Fmc, Microcode, Reserved, Snp, Tee};
        match product {
            Product::Milan | Product::Genoa => {
                [Bootloader, Tee, Reserved(2), Reserved(3), Reserved(4), Reserved(5), Snp, Microcode]
            }
            Product::Turin => [Fmc, Bootloader, Tee, Snp, Reserved(4), Reserved(5), Reserved(6), Microcode],
        }
    }

    /// The name in policies and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fmc => "fmc",
            Self::Bootloader => "bootloader",
            Self::Tee => "tee",
            Self::Snp => "snp",
            Self::Microcode => "microcode",
            Self::Reserved(_) => "reserved",
        }
    }
}

/// A TCB version of a known product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcb {
    product: Product,
    bytes: [u8; 8],
}

impl Tcb {
    /// The version that those bytes of a report are.
    #[must_use]
    pub fn new(product: Product, bytes: [u8; 8]) -> Self {
        Self { product, bytes }
    }

    /// The security version number of a component; 0 where the product has none.
    #[must_use]
    pub fn get(self, component: Component) -> u8 {
        self.components().find(|(known, _)| *known == component).map_or(0, |(_, number)| number)
    }

    /// All components, in the order of their bytes.
    pub fn components(self) -> impl Iterator<Item = (Component, u8)> {
        Component::places(self.product).into_iter().zip(self.bytes)
    }

    /// Whether no component is older than the other's: numbers of one component have an order, whole versions have none.
    #[must_use]
    pub fn at_least(self, other: Self) -> bool {
        self.bytes.iter().zip(other.bytes).all(|(ours, theirs)| *ours >= theirs)
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blank = "";
        for (component, number) in self.components() {
            match component {
                Component::Reserved(_) if number == 0 => continue,
                Component::Reserved(place) => write!(formatter, "{blank}byte{place}={number}")?,
                known => write!(formatter, "{blank}{}={number}", known.name())?,
            }
            blank = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_other_versions_on_turin() {
        let bytes = [1, 2, 3, 4, 0, 9, 6, 0x51];
        let milan = Tcb::new(Product::Milan, bytes);
        assert_eq!(milan.to_string(), "bootloader=1 tee=2 byte2=3 byte3=4 byte5=9 snp=6 microcode=81");
        let turin = Tcb::new(Product::Turin, bytes);
        assert_eq!(turin.to_string(), "fmc=1 bootloader=2 tee=3 snp=4 byte5=9 byte6=6 microcode=81");
        assert_eq!((milan.get(Component::Snp), turin.get(Component::Snp)), (6, 4));
        assert_eq!((milan.get(Component::Fmc), turin.get(Component::Fmc)), (0, 1));
    }

    #[test]
    fn no_component_makes_up_for_another() {
        let tcb = |bytes| Tcb::new(Product::Genoa, bytes);
        let base = tcb([3, 1, 0, 0, 0, 0, 8, 115]);
        assert!(base.at_least(base));
        for place in 0..8 {
            let mut newer = base.bytes;
            newer[place] += 1;
            assert!(tcb(newer).at_least(base) && !base.at_least(tcb(newer)));
            newer[(place + 1) % 8] = newer[(place + 1) % 8].saturating_sub(1);
            let lower = newer[(place + 1) % 8] < base.bytes[(place + 1) % 8];
            assert_eq!(tcb(newer).at_least(base), !lower);
        }
    }
}

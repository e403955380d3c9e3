//! The CPUID page: what the firmware checks against the processor, and Linux takes for CPUID (AMD 56860, section 8.17.2.6).
//!
//! Its content is the host's and is not measured: the firmware refuses what the processor does not have. The hypervisor's leaves
//! (0x4000_0000 on) it does not judge; they belong on the page too, because Linux takes a leaf that is not there for zeros and
//! would not find KVM's clock.

use crate::page::Contents;

/// The most entries.
pub const MAX_ENTRIES: usize = 64;
const ENTRY_SIZE: usize = 48;
const ENTRIES: usize = 16;

/// A leaf of CPUID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// EAX that is asked for.
    pub function: u32,
    /// ECX that is asked for; 0 where the leaf has no sub-leaves.
    pub index: u32,
    /// Answer.
    pub eax: u32,
    /// Answer.
    pub ebx: u32,
    /// Answer.
    pub ecx: u32,
    /// Answer.
    pub edx: u32,
}

/// A table has more leaves than the page has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{leaves} leaves of CPUID are more than {MAX_ENTRIES}")]
pub struct TooManyLeaves {
    /// What was asked for.
    pub leaves: usize,
}

/// Leaf 1, ECX: a timer that SNP guests do not have.
const TSC_DEADLINE: u32 = 1 << 24;
/// Leaf 7, EBX: a register that they do not have; ECX: five levels of page tables.
const TSC_ADJUST: u32 = 1 << 1;
const LA57: u32 = 1 << 16;
/// Leaf 0x8000_0008, EBX.
const VIRT_SSBD: u32 = 1 << 25;
/// Leaf 0xd: the size of the x87 and SSE state and the header, for XCR0 as it is at the start.
const XSAVE_SIZE: u32 = 0x240;

/// The page of a table that KVM would give to a vCPU.
///
/// # Errors
/// Too many leaves.
pub fn encode(leaves: &[Leaf]) -> Result<Box<Contents>, TooManyLeaves> {
    let kept: Vec<_> = leaves.iter().map(adjust).collect();
    let count = u32::try_from(kept.len()).ok().filter(|_| kept.len() <= MAX_ENTRIES);
    let count = count.ok_or(TooManyLeaves { leaves: kept.len() })?;
    let mut page = Box::new([0; 4096]);
    page[..4].copy_from_slice(&count.to_le_bytes());
    for (entry, leaf) in page[ENTRIES..].chunks_exact_mut(ENTRY_SIZE).zip(&kept) {
        let xcr0 = u32::from(is_state_size(leaf));
        let words = [leaf.function, leaf.index, xcr0, 0, 0, 0, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx];
        for (place, word) in entry.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }
    Ok(page)
}

/// The leaves whose answer depends on XCR0.
fn is_state_size(leaf: &Leaf) -> bool {
    leaf.function == 0xd && leaf.index <= 1
}

fn adjust(leaf: &Leaf) -> Leaf {
    let mut leaf = *leaf;
    match (leaf.function, leaf.index) {
        (1, _) => leaf.ecx &= !TSC_DEADLINE,
        (7, 0) => {
            leaf.ebx &= !TSC_ADJUST;
            leaf.ecx &= !LA57;
            leaf.edx = 0;
        }
        (0xd, 0 | 1) => leaf.ebx = XSAVE_SIZE,
        (0x8000_0008, _) => leaf.ebx &= !VIRT_SSBD,
        _ => {}
    }
    leaf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_adjusted_and_those_of_the_hypervisor_kept() {
        let leaf = |function, index| Leaf { function, index, eax: 1, ebx: !0, ecx: !0, edx: !0 };
        let table =
            [leaf(1, 0), leaf(7, 0), leaf(0xd, 1), leaf(0xd, 2), leaf(0x4000_0000, 0), leaf(0x8000_0008, 0)];
        let page = encode(&table).unwrap();
        let word = |entry: usize, word: usize| {
            let at = 16 + entry * 48 + word * 4;
            u32::from_le_bytes(page[at..at + 4].try_into().unwrap())
        };
        assert_eq!(page[..16], [6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!([word(0, 0), word(0, 6), word(0, 8)], [1, 1, !(1 << 24)]);
        assert_eq!([word(1, 7), word(1, 8), word(1, 9)], [!2, !(1 << 16), 0]);
        assert_eq!([word(2, 1), word(2, 2), word(2, 7)], [1, 1, 0x240]);
        assert_eq!([word(3, 1), word(3, 2), word(3, 7)], [2, 0, !0]);
        assert_eq!([word(4, 0), word(4, 7)], [0x4000_0000, !0]);
        assert_eq!([word(5, 0), word(5, 7)], [0x8000_0008, !(1 << 25)]);
        assert!(page[16 + 6 * 48..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_page_has_64_leaves_at_most() {
        assert!(encode(&[Leaf::default(); 64]).is_ok());
        assert_eq!(encode(&[Leaf::default(); 65]), Err(TooManyLeaves { leaves: 65 }));
    }
}

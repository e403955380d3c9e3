//! CPUID of an SNP guest: one table for KVM, the CPUID page made of it, and what the firmware has changed in it.

use kvm_bindings::kvm_cpuid_entry2;
use snp_layout::cpuid_page::{self, Leaf};

use super::SnpError;

/// The leaf of memory encryption (AMD APM volume 3, appendix E.4.17).
const ENCRYPTION: u32 = 0x8000_001f;
/// Its EAX: SEV, SEV-ES and SEV-SNP.
const ENABLED: u32 = 1 << 1 | 1 << 3 | 1 << 4;
/// Its EBX: the encryption bit, and by how many bits physical addresses are shorter.
const BIT: u32 = 0x3f;
const REDUCTION: u32 = 0xfc0;

/// Adds the leaf of memory encryption as KVM has it, where its encryption bit is the layout's.
pub(super) fn add_encryption(
    table: &mut Vec<kvm_cpuid_entry2>,
    supported: &[kvm_cpuid_entry2],
    expected: u32,
) -> Result<(), SnpError> {
    let leaf = supported.iter().find(|leaf| leaf.function == ENCRYPTION);
    let found = leaf.map(|leaf| leaf.ebx & BIT);
    let Some(leaf) = leaf.filter(|leaf| leaf.ebx & BIT == expected) else {
        return Err(SnpError::EncryptionBit { found, expected });
    };
    table.retain(|leaf| leaf.function != ENCRYPTION);
    table.push(kvm_cpuid_entry2 {
        function: ENCRYPTION,
        eax: ENABLED,
        ebx: leaf.ebx & (BIT | REDUCTION),
        ..Default::default()
    });
    Ok(())
}

/// The CPUID page of a vCPU's table. Leaves of zeros are what a guest takes leaves for that are not there.
pub(super) fn page(table: &[kvm_cpuid_entry2]) -> Result<Box<[u8; 4096]>, SnpError> {
    let leaves: Vec<Leaf> = table
        .iter()
        .filter(|leaf| leaf.eax | leaf.ebx | leaf.ecx | leaf.edx != 0)
        .map(|leaf| Leaf {
            function: leaf.function,
            index: leaf.index,
            eax: leaf.eax,
            ebx: leaf.ebx,
            ecx: leaf.ecx,
            edx: leaf.edx,
        })
        .collect();
    Ok(cpuid_page::encode(&leaves)?)
}

/// The leaves in which a page differs from what it was, for people.
pub(super) fn changes(before: &[u8], after: &[u8]) -> Vec<String> {
    let entries = |page: &[u8]| -> Vec<[u32; 12]> {
        let (words, _) = page.get(16..).unwrap_or_default().as_chunks::<4>();
        let words: Vec<_> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        words.as_chunks::<12>().0.to_vec()
    };
    let name = |(before, after): ([u32; 12], [u32; 12])| {
        let differ = |index: usize| before[index] != after[index];
        let named = ["eax", "ebx", "ecx", "edx"].into_iter().zip(6..).filter(|(_, index)| differ(*index));
        let registers: Vec<_> = named
            .map(|(name, index)| format!("{name} {:#x} to {:#x}", before[index], after[index]))
            .collect();
        (before != after)
            .then(|| format!("leaf {:#x}.{} {}", before[0], before[1], registers.join(" ")).trim().to_owned())
    };
    entries(before).into_iter().zip(entries(after)).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(function: u32, ebx: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 { function, eax: 1, ebx, ..Default::default() }
    }

    #[test]
    fn the_encryption_bit_has_to_be_the_layouts() {
        let mut table = vec![leaf(0, 0)];
        add_encryption(&mut table, &[leaf(ENCRYPTION, 0x1_0000 | 5 << 6 | 51)], 51).unwrap();
        assert_eq!((table[1].eax, table[1].ebx), (0x1a, 5 << 6 | 51));
        for supported in [vec![], vec![leaf(ENCRYPTION, 47)]] {
            let error = add_encryption(&mut table, &supported, 51).unwrap_err().to_string();
            assert!(error.contains("encryption bit"), "{error}");
        }
    }

    #[test]
    fn changed_leaves_are_named() {
        let before = page(&[leaf(1, 2), leaf(7, 0xff), leaf(0xd, 0)]).unwrap();
        let mut after = before.clone();
        after[16 + 48 + 28] = 0xf0;
        assert_eq!(changes(&before[..], &before[..]), [""; 0]);
        assert_eq!(changes(&before[..], &after[..]), ["leaf 0x7.0 ebx 0xfd to 0xf0"]);
    }

    #[test]
    fn leaves_of_zeros_take_no_room() {
        let table = vec![kvm_cpuid_entry2::default(); 80];
        assert_eq!(page(&table).unwrap()[0], 0);
        assert!(matches!(page(&vec![leaf(2, 0); 65]), Err(SnpError::CpuidPage(_))));
    }
}

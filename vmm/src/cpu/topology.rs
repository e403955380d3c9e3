//! CPU topology in CPUID: one package of N cores with one thread each, local APIC ids 0 to N-1.
//!
//! Intel's leaves 1, 4, 0xb and 0x1f, AMD's 0x8000_0008, 0x8000_001d and 0x8000_001e. Called by `cpuid`.

use kvm_bindings::kvm_cpuid_entry2;

use super::cpuid::{find, sub_leaf};

/// Leaf 1, EDX: the count of logical processors in EBX is valid.
const HTT: u32 = 1 << 28;
/// Level types of leaves 0xb and 0x1f, in ECX bits 8 to 15.
const LEVEL_THREAD: u32 = 1 << 8;
const LEVEL_CORE: u32 = 2 << 8;

/// Bits of a local APIC id that number the core.
fn core_bits(vcpus: u8) -> u32 {
    u32::from(vcpus).next_power_of_two().trailing_zeros()
}

/// Says in `entries` that the package has `vcpus` cores.
pub(super) fn describe_package(entries: &mut Vec<kvm_cpuid_entry2>, vcpus: u8) {
    let cores = u32::from(vcpus);
    let ids = 1 << core_bits(vcpus);
    for entry in entries.iter_mut() {
        match entry.function {
            1 => {
                // EBX bits 16 to 23: ids set aside in the package.
                entry.ebx = entry.ebx & 0x0000_ffff | ids << 16;
                entry.edx = if cores > 1 { entry.edx | HTT } else { entry.edx & !HTT };
            }
            // EAX bits 26 to 31: ids of cores in the package, less one.
            4 => entry.eax = shared_cache(entry.eax, cores) & 0x03ff_ffff | (ids - 1) << 26,
            0x8000_001d => entry.eax = shared_cache(entry.eax, cores),
            // ECX bits 0 to 7: cores less one; bits 12 to 15: width of the core's part of the id.
            0x8000_0008 => entry.ecx = entry.ecx & 0xffff_0000 | core_bits(vcpus) << 12 | (cores - 1),
            _ => {}
        }
    }
    replace_levels(entries, vcpus);
}

/// EAX of a cache leaf with bits 14 to 25, processors that share the cache less one: the last level by all, the
/// others by none.
fn shared_cache(eax: u32, cores: u32) -> u32 {
    let level = eax >> 5 & 7;
    let sharing = if level >= 3 { cores - 1 } else { 0 };
    eax & !(0xfff << 14) | sharing << 14
}

/// Leaf 0xb with a thread and a core level, in place of the host's and of leaf 0x1f.
fn replace_levels(entries: &mut Vec<kvm_cpuid_entry2>, vcpus: u8) {
    entries.retain(|entry| !matches!(entry.function, 0xb | 0x1f));
    if find(entries, 0).is_none_or(|highest| highest.eax < 0xb) {
        return;
    }
    let mut threads = sub_leaf(0xb, 0);
    (threads.eax, threads.ebx, threads.ecx) = (0, 1, LEVEL_THREAD);
    let mut cores = sub_leaf(0xb, 1);
    (cores.eax, cores.ebx, cores.ecx) = (core_bits(vcpus), u32::from(vcpus), LEVEL_CORE | 1);
    let mut end = sub_leaf(0xb, 2);
    end.ecx = 2;
    entries.extend([threads, cores, end]);
}

/// Writes the local APIC id of one vCPU wherever CPUID tells it.
pub(super) fn name_vcpu(entries: &mut [kvm_cpuid_entry2], id: u8) {
    let id = u32::from(id);
    for entry in entries {
        match entry.function {
            1 => entry.ebx = entry.ebx & 0x00ff_ffff | id << 24,
            0xb => entry.edx = id,
            // EAX: extended APIC id; EBX: core id, one thread a core; ECX: node 0 of one.
            0x8000_001e => (entry.eax, entry.ebx, entry.ecx) = (id, id, 0),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(vcpus: u8) -> Vec<kvm_cpuid_entry2> {
        let leaf = |function| kvm_cpuid_entry2 { function, ..Default::default() };
        let mut highest = leaf(0);
        highest.eax = 0x1f;
        let cache = |function, index, level: u32| {
            let mut entry = sub_leaf(function, index);
            entry.eax = level << 5 | 1 | 0xfff << 14;
            entry
        };
        let mut host_level = sub_leaf(0x1f, 0);
        host_level.ebx = 64;
        let mut entries =
            vec![highest, leaf(1), cache(4, 0, 1), cache(4, 3, 3), host_level, leaf(0x8000_0008)];
        entries.extend([leaf(0x8000_001e), cache(0x8000_001d, 3, 3)]);
        entries[1].ebx = 0xff40_0800;
        describe_package(&mut entries, vcpus);
        entries
    }

    #[test]
    fn ids_are_wide_enough_for_every_count() {
        for (vcpus, bits) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (16, 4), (31, 5), (32, 5)] {
            assert_eq!(core_bits(vcpus), bits, "{vcpus}");
            let entries = package(vcpus);
            assert_eq!(find(&entries, 0x8000_0008).unwrap().ecx, bits << 12 | (u32::from(vcpus) - 1));
            assert_eq!(find(&entries, 1).unwrap().ebx >> 16, 1 << bits);
        }
    }

    #[test]
    fn levels_are_the_guests_own() {
        let entries = package(6);
        let levels: Vec<_> = entries.iter().filter(|entry| matches!(entry.function, 0xb | 0x1f)).collect();
        assert_eq!(levels.len(), 3);
        assert_eq!((levels[1].eax, levels[1].ebx, levels[1].ecx), (3, 6, LEVEL_CORE | 1));
    }

    #[test]
    fn only_the_last_cache_level_is_shared() {
        let entries = package(4);
        let sharing = |function, index| {
            let entry =
                entries.iter().find(|entry| entry.function == function && entry.index == index).unwrap();
            entry.eax >> 14 & 0xfff
        };
        assert_eq!((sharing(4, 0), sharing(4, 3), sharing(0x8000_001d, 3)), (0, 3, 3));
    }

    #[test]
    fn each_vcpu_has_its_id_in_every_leaf() {
        let mut entries = package(8);
        name_vcpu(&mut entries, 5);
        assert_eq!(find(&entries, 1).unwrap().ebx, 5 << 24 | 8 << 16 | 0x0800);
        assert!(entries.iter().filter(|entry| entry.function == 0xb).all(|entry| entry.edx == 5));
        let node = find(&entries, 0x8000_001e).unwrap();
        assert_eq!((node.eax, node.ebx, node.ecx), (5, 5, 0));
    }
}

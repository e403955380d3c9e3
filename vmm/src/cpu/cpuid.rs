//! CPUID as the guest sees it: what KVM supports on this host, less what makes no sense in a small virtual
//! machine, with its own topology and clock frequencies (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E;
//! Linux: Documentation/virt/kvm/x86/cpuid.rst). Made once by `builder`, then [`for_vcpu`] for each vCPU.

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

use super::topology;

/// The CPUID table cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a CPUID table of {entries} entries")]
pub struct CpuidError {
    entries: usize,
    #[source]
    source: vmm_sys_util::fam::Error,
}

/// Leaf 1, ECX.
const MONITOR: u32 = 1 << 3;
const VMX: u32 = 1 << 5;
const X2APIC: u32 = 1 << 21;
const TSC_DEADLINE: u32 = 1 << 24;
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 7, EBX: software guard extensions and processor trace.
const SGX: u32 = 1 << 2;
const PROCESSOR_TRACE: u32 = 1 << 25;
/// Leaf 0x8000_0001, ECX: nested virtualisation and performance counters of AMD.
const SVM: u32 = 1 << 2;
const PERFCTR_CORE: u32 = 1 << 23;
const PERFCTR_NB: u32 = 1 << 24;
const PERFCTR_LLC: u32 = 1 << 28;
/// KVM features: asynchronous page faults in all their forms, and destinations of more than 255 CPUs.
const ASYNC_PF: u32 = 1 << 4;
const ASYNC_PF_VMEXIT: u32 = 1 << 10;
const ASYNC_PF_INT: u32 = 1 << 14;
const MSI_EXT_DEST_ID: u32 = 1 << 15;

const KVM_SIGNATURE: u32 = 0x4000_0000;
const KVM_FEATURES: u32 = 0x4000_0001;
const TIMING: u32 = 0x4000_0010;
/// The frequency of KVM's local APIC timer in kHz.
const APIC_BUS_KHZ: u32 = 1_000_000;

/// Leaves that a guest does without: performance counters, SGX, processor trace, nested virtualisation, memory
/// encryption, IBS, AMD's second performance leaf, and two topology leaves that would describe the host's.
const DROPPED: [u32; 8] = [0xa, 0x12, 0x14, 0x8000_000a, 0x8000_001b, 0x8000_001f, 0x8000_0022, 0x8000_0026];

/// The part of the table that all vCPUs share: `supported` is KVM's list, `tsc_khz` the guest's TSC frequency.
pub(crate) fn for_guest(supported: &[kvm_cpuid_entry2], vcpus: u8, tsc_khz: u32) -> Vec<kvm_cpuid_entry2> {
    let mut entries: Vec<_> =
        supported.iter().filter(|entry| !DROPPED.contains(&entry.function)).copied().collect();
    for entry in &mut entries {
        adjust_features(entry);
        adjust_clocks(entry, tsc_khz);
    }
    add_clocks(&mut entries, tsc_khz);
    topology::describe_package(&mut entries, vcpus);
    entries
}

/// The table of the vCPU with the local APIC id `id`.
///
/// # Errors
/// More entries than KVM takes.
pub(crate) fn for_vcpu(shared: &[kvm_cpuid_entry2], id: u8) -> Result<CpuId, CpuidError> {
    let mut entries = shared.to_vec();
    topology::name_vcpu(&mut entries, id);
    CpuId::from_entries(&entries).map_err(|source| CpuidError { entries: entries.len(), source })
}

/// The entry of a leaf without sub-leaves.
pub(crate) fn find(entries: &[kvm_cpuid_entry2], function: u32) -> Option<&kvm_cpuid_entry2> {
    entries.iter().find(|entry| entry.function == function && entry.index == 0)
}

fn adjust_features(entry: &mut kvm_cpuid_entry2) {
    match (entry.function, entry.index) {
        (1, _) => {
            // KVM_GET_SUPPORTED_CPUID leaves out the deadline timer, which comes with the in-kernel APIC.
            entry.ecx |= HYPERVISOR | TSC_DEADLINE | X2APIC;
            entry.ecx &= !(VMX | MONITOR);
        }
        (7, 0) => entry.ebx &= !(SGX | PROCESSOR_TRACE),
        (0x8000_0001, _) => entry.ecx &= !(SVM | PERFCTR_CORE | PERFCTR_NB | PERFCTR_LLC),
        // Guest memory stays in RAM as a rule: its page faults are not worth an interrupt protocol.
        (KVM_FEATURES, _) => {
            entry.eax &= !(ASYNC_PF | ASYNC_PF_VMEXIT | ASYNC_PF_INT | MSI_EXT_DEST_ID);
        }
        _ => {}
    }
}

/// Frequencies where the host's CPU has the leaves: the TSC as a ratio to a 1 GHz crystal (leaf 0x15) and in MHz
/// (leaf 0x16).
fn adjust_clocks(entry: &mut kvm_cpuid_entry2, tsc_khz: u32) {
    match entry.function {
        0x15 => (entry.eax, entry.ebx, entry.ecx) = (APIC_BUS_KHZ, tsc_khz, APIC_BUS_KHZ * 1000),
        0x16 => {
            let mhz = tsc_khz / 1000;
            (entry.eax, entry.ebx) = (mhz, mhz);
        }
        _ => {}
    }
}

/// The hypervisor's timing leaf, which needs no calibration loop on any vendor's CPU.
fn add_clocks(entries: &mut Vec<kvm_cpuid_entry2>, tsc_khz: u32) {
    let Some(signature) = entries.iter_mut().find(|entry| entry.function == KVM_SIGNATURE) else { return };
    signature.eax = signature.eax.max(TIMING);
    entries.retain(|entry| entry.function != TIMING);
    entries.push(kvm_cpuid_entry2 {
        function: TIMING,
        eax: tsc_khz,
        ebx: APIC_BUS_KHZ,
        ..Default::default()
    });
}

/// An entry of a leaf with sub-leaves.
pub(super) fn sub_leaf(function: u32, index: u32) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 { function, index, flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(function: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            eax: u32::MAX,
            ebx: u32::MAX,
            ecx: u32::MAX,
            edx: 0,
            ..Default::default()
        }
    }

    fn host() -> Vec<kvm_cpuid_entry2> {
        let mut signature = leaf(KVM_SIGNATURE);
        signature.eax = KVM_FEATURES;
        let mut bare = leaf(1);
        bare.ecx = VMX | MONITOR;
        vec![
            leaf(0),
            bare,
            leaf(7),
            leaf(0xa),
            leaf(0x15),
            leaf(0x16),
            signature,
            leaf(KVM_FEATURES),
            leaf(0x8000_0001),
        ]
    }

    #[test]
    fn the_guest_knows_it_is_one_and_cannot_nest() {
        let guest = for_guest(&host(), 1, 3_000_000);
        let features = find(&guest, 1).unwrap();
        assert_eq!(features.ecx, HYPERVISOR | TSC_DEADLINE | X2APIC);
        assert_eq!(find(&guest, 0x8000_0001).unwrap().ecx & (SVM | PERFCTR_CORE), 0);
        assert_eq!(find(&guest, 7).unwrap().ebx & (SGX | PROCESSOR_TRACE), 0);
        assert!(find(&guest, 0xa).is_none());
        let paravirtual = find(&guest, KVM_FEATURES).unwrap().eax;
        assert_eq!(paravirtual & (ASYNC_PF | ASYNC_PF_INT), 0);
        assert_ne!(paravirtual & (1 << 3 | 1 << 5 | 1 << 6), 0);
    }

    #[test]
    fn clocks_need_no_calibration() {
        let guest = for_guest(&host(), 1, 2_994_375);
        let timing = find(&guest, TIMING).unwrap();
        assert_eq!((timing.eax, timing.ebx), (2_994_375, APIC_BUS_KHZ));
        assert_eq!(find(&guest, KVM_SIGNATURE).unwrap().eax, TIMING);
        let crystal = find(&guest, 0x15).unwrap();
        let hertz = u64::from(crystal.ecx) * u64::from(crystal.ebx) / u64::from(crystal.eax);
        assert_eq!(hertz, 2_994_375_000);
        assert_eq!(find(&guest, 0x16).unwrap().eax, 2994);
    }
}

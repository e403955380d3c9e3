//! The virtual machine as KVM knows it: memory slots, the in-kernel interrupt controllers, irqfds and ioeventfds.
//! Called by `builder`.
#![expect(unsafe_code, reason = "memory slots hand host memory to KVM")]

use std::io;

use kvm_bindings::{
    KVM_CAP_PMU_CAPABILITY, KVM_MAX_CPUID_ENTRIES, KVM_PMU_CAP_DISABLE, kvm_cpuid_entry2, kvm_enable_cap,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{IoEventAddress, Kvm, VmFd};
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::bus::{INTERRUPT_ACK_OFFSET, QUEUE_NOTIFY_OFFSET, Slot};
use crate::memory::GuestMemory;
use crate::virtio::USED_BUFFER;

/// Three pages below 4 GiB that KVM on Intel uses for real mode; in the hole, where the guest has nothing.
const TSS_ADDRESS: usize = 0xfffb_d000;

/// KVM refuses a step of the set-up.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// KVM_CREATE_VM.
    #[error("cannot create the virtual machine")]
    CreateVm(#[source] kvm_ioctls::Error),
    /// KVM_SET_TSS_ADDR.
    #[error("cannot set the address of KVM's own pages")]
    SetTssAddress(#[source] kvm_ioctls::Error),
    /// KVM_CREATE_IRQCHIP.
    #[error("cannot create the interrupt controllers")]
    CreateIrqchip(#[source] kvm_ioctls::Error),
    /// KVM_ENABLE_CAP of the performance counters.
    #[error("cannot switch off the guest's performance counters")]
    DisablePmu(#[source] kvm_ioctls::Error),
    /// KVM_GET_SUPPORTED_CPUID.
    #[error("cannot get the CPUID that KVM supports")]
    SupportedCpuid(#[source] kvm_ioctls::Error),
    /// The host's CPUs or KVM allow fewer vCPUs.
    #[error("KVM allows {most} vCPUs, not {vcpus}")]
    TooManyVcpus {
        /// vCPUs asked for.
        vcpus: u8,
        /// KVM's limit.
        most: usize,
    },
    /// KVM_SET_USER_MEMORY_REGION.
    #[error("cannot give the guest its memory at {gpa:#x}+{size:#x}")]
    SetMemory {
        /// First guest physical address.
        gpa: u64,
        /// Bytes.
        size: u64,
        /// What KVM says.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// KVM_IRQFD.
    #[error("cannot connect a device to interrupt line {gsi}")]
    RegisterIrqfd {
        /// The line.
        gsi: u32,
        /// What KVM says.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// KVM_IOEVENTFD.
    #[error("cannot connect virtqueue {queue} of the device at {base:#x}")]
    RegisterIoeventfd {
        /// The device's slot.
        base: u64,
        /// The queue's index.
        queue: u32,
        /// What KVM says.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// KVM_IOEVENTFD for the acknowledgement of interrupts.
    #[error("cannot have KVM take the acknowledgements of the device at {base:#x}")]
    RegisterAcknowledgement {
        /// The device's slot.
        base: u64,
        /// What KVM says.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// eventfd(2).
    #[error("cannot make the event of acknowledgements")]
    MakeEvent(#[source] io::Error),
}

/// Creates a virtual machine with interrupt controllers (PIC, I/O APIC, local APICs) and their default routes:
/// GSI n is pin n of the I/O APIC. There is no PIT: kernels with a deadline timer need none.
pub(crate) fn create_vm(kvm: &Kvm, vcpus: u8) -> Result<VmFd, KvmError> {
    check_vcpus(kvm, vcpus)?;
    let vm = loop {
        match kvm.create_vm() {
            Err(error) if error.errno() == libc::EINTR => {}
            result => break result.map_err(KvmError::CreateVm)?,
        }
    };
    prepare_vm(&vm)?;
    Ok(vm)
}

/// Refuses more vCPUs than this host can have.
pub(crate) fn check_vcpus(kvm: &Kvm, vcpus: u8) -> Result<(), KvmError> {
    let most = kvm.get_max_vcpus();
    if usize::from(vcpus) > most { Err(KvmError::TooManyVcpus { vcpus, most }) } else { Ok(()) }
}

/// What a machine of any kind has.
pub(crate) fn prepare_vm(vm: &VmFd) -> Result<(), KvmError> {
    disable_pmu(vm)?;
    vm.set_tss_address(TSS_ADDRESS).map_err(KvmError::SetTssAddress)?;
    vm.create_irq_chip().map_err(KvmError::CreateIrqchip)
}

/// Takes the performance counters from the guest where KVM can (Linux 5.18): they tell about neighbours, and
/// CPUID does not show them anyway.
fn disable_pmu(vm: &VmFd) -> Result<(), KvmError> {
    let supported = vm.check_extension_raw(u64::from(KVM_CAP_PMU_CAPABILITY));
    if supported.cast_unsigned() & KVM_PMU_CAP_DISABLE == 0 {
        return Ok(());
    }
    let mut cap = kvm_enable_cap { cap: KVM_CAP_PMU_CAPABILITY, ..Default::default() };
    cap.args[0] = u64::from(KVM_PMU_CAP_DISABLE);
    vm.enable_cap(&cap).map_err(KvmError::DisablePmu)
}

/// All CPUID leaves that KVM can show on this host.
pub(crate) fn supported_cpuid(kvm: &Kvm) -> Result<Vec<kvm_cpuid_entry2>, KvmError> {
    let table = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(KvmError::SupportedCpuid)?;
    Ok(table.as_slice().to_vec())
}

/// Gives `memory` to the guest. The caller keeps it mapped for as long as a vCPU may run; `vm` may outlive it, because
/// KVM takes from the guest what is unmapped.
pub(crate) fn set_memory(vm: &VmFd, memory: &GuestMemory) -> Result<(), KvmError> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let (gpa, size) = (region.start_addr().raw_value(), region.len());
        let Ok(host) = region.get_host_address(MemoryRegionAddress(0)) else { continue };
        let slot = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: gpa,
            memory_size: size,
            userspace_addr: host as u64,
        };
        // SAFETY: the range is mapped in all of exactly this size, it overlaps no other slot, and `Vm` drops the vCPUs,
        // without which nothing runs in `vm`, before the memory.
        let result = unsafe { vm.set_user_memory_region(slot) };
        result.map_err(|source| KvmError::SetMemory { gpa, size, source })?;
    }
    Ok(())
}

/// Connects a device's events: a write to `interrupt` raises its line, a guest's notification of a queue
/// arrives in `queues`. Acknowledgements of nothing but used buffers, which mean nothing to a device (`virtio::Interrupt`),
/// end in KVM: an event that nobody waits for.
pub(crate) fn connect(
    vm: &VmFd,
    slot: Slot,
    interrupt: &EventFd,
    queues: &[EventFd],
) -> Result<(), KvmError> {
    vm.register_irqfd(interrupt, slot.gsi)
        .map_err(|source| KvmError::RegisterIrqfd { gsi: slot.gsi, source })?;
    let notify = IoEventAddress::Mmio(slot.base + QUEUE_NOTIFY_OFFSET);
    for (queue, event) in (0_u32..).zip(queues) {
        vm.register_ioevent(event, &notify, queue).map_err(|source| KvmError::RegisterIoeventfd {
            base: slot.base,
            queue,
            source,
        })?;
    }
    let unheard = EventFd::new(EFD_NONBLOCK).map_err(KvmError::MakeEvent)?;
    let acknowledge = IoEventAddress::Mmio(slot.base + INTERRUPT_ACK_OFFSET);
    vm.register_ioevent(&unheard, &acknowledge, USED_BUFFER)
        .map_err(|source| KvmError::RegisterAcknowledgement { base: slot.base, source })
}

//! A vCPU: its set-up, the loop of its thread, and how another thread stops it.
//!
//! Made by `builder`, run by `vm`. To stop one: [`End::reach`], then the signal of [`stop_signal`] to its thread.
//! The handler sets `immediate_exit` of the thread's own vCPU, so that a signal that comes just before KVM_RUN
//! is not lost.
#![expect(unsafe_code, reason = "the shared kvm_run page is reached by pointer")]

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

use kvm_bindings::{CpuId, KVM_SYSTEM_EVENT_SEV_TERM, kvm_run};
use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};
use libc::{c_int, c_void, siginfo_t};
use vmm_sys_util::signal::{self, SIGRTMIN, register_signal_handler, unblock_signal};

use crate::boot::long_mode;
use crate::bus::MmioBus;
use crate::cpu::{lapic, msr};
use crate::exit::{End, RunError, VmExit};
use crate::ports::Ports;
use crate::snp::{ConversionError, PrivateMemory};

/// The set of reasons that the stub of an SNP guest has.
const STUB_REASONS: u64 = 12;

/// A vCPU cannot be made or cannot run on.
#[derive(Debug, thiserror::Error)]
pub enum VcpuError {
    /// KVM_CREATE_VCPU.
    #[error("cannot create the vCPU")]
    Create(#[source] kvm_ioctls::Error),
    /// KVM_SET_CPUID2.
    #[error("cannot set the vCPU's CPUID")]
    SetCpuid(#[source] kvm_ioctls::Error),
    /// Model specific registers.
    #[error("cannot set up the vCPU")]
    Msr(#[from] msr::MsrError),
    /// KVM_GET_LAPIC or KVM_SET_LAPIC.
    #[error("cannot set the vCPU's local APIC")]
    Lapic(#[source] kvm_ioctls::Error),
    /// KVM_GET_SREGS, KVM_SET_SREGS or KVM_SET_REGS.
    #[error("cannot set the vCPU's registers")]
    Registers(#[source] kvm_ioctls::Error),
    /// pthread_sigmask(3).
    #[error("cannot unblock the signal that stops the vCPU: {0}")]
    UnblockSignal(signal::Error),
    /// KVM_RUN found nothing of the host's behind a page of guest memory (`EFAULT`).
    #[error(
        "a page of guest memory is gone, as when a file of the runtime package becomes shorter while its pod runs"
    )]
    PageGone(#[source] kvm_ioctls::Error),
    /// KVM_RUN failed.
    #[error("cannot run the vCPU")]
    Run(#[source] kvm_ioctls::Error),
    /// KVM_EXIT_FAIL_ENTRY.
    #[error("hardware refused to enter the guest: reason {reason:#x} on CPU {cpu}")]
    FailEntry {
        /// The processor's own code.
        reason: u64,
        /// The host CPU.
        cpu: u32,
    },
    /// KVM_EXIT_INTERNAL_ERROR.
    #[error("KVM internal error {suberror} at instruction {rip:#x}, data {data:x?}")]
    Internal {
        /// `KVM_INTERNAL_ERROR_*`; 1 is an instruction that KVM cannot emulate.
        suberror: u32,
        /// Where the guest was.
        rip: u64,
        /// What KVM adds.
        data: Vec<u64>,
    },
    /// Private memory.
    #[error("cannot change the guest's private memory")]
    Conversion(#[from] ConversionError),
    /// The guest faults at one place again and again, although it has the memory that it asks for.
    #[error("the guest does not get on at {gpa:#x}: the host's memory there may be broken")]
    Stuck {
        /// The first address.
        gpa: u64,
    },
    /// An SNP guest has asked for its end.
    #[error("the guest ended itself: {}", termination(*.request))]
    Terminated {
        /// The value of the request (GHCB specification, section 2.3.1).
        request: u64,
    },
    /// An exit that this machine has no use for.
    #[error("unexpected exit to user space: {exit}")]
    Unexpected {
        /// The exit's name.
        exit: String,
    },
}

/// A vCPU that is not running.
pub(crate) struct Vcpu {
    fd: VcpuFd,
    id: u8,
    /// The last memory fault, address and flags, and how often it came again.
    last_fault: (u64, u64),
    faults: u32,
}

/// More faults at one place than vCPUs that quarrel over a page have. A page of the host that is broken has no end of them.
const MOST_FAULTS: u32 = 10_000;

/// What all vCPUs of a machine share.
pub(crate) struct Machine {
    pub(crate) bus: MmioBus,
    pub(crate) ports: Ports,
    pub(crate) end: Arc<End>,
    /// Of a guest that has some.
    pub(crate) private: Option<PrivateMemory>,
}

impl Vcpu {
    /// Creates the vCPU with the local APIC id `id`.
    pub(crate) fn create(vm: &VmFd, id: u8) -> Result<Self, VcpuError> {
        let fd = vm.create_vcpu(u64::from(id)).map_err(VcpuError::Create)?;
        Ok(Self { fd, id, last_fault: (0, 0), faults: 0 })
    }

    /// KVM's descriptor.
    pub(crate) fn fd(&self) -> &VcpuFd {
        &self.fd
    }

    /// The local APIC id.
    pub(crate) fn id(&self) -> u8 {
        self.id
    }

    /// The frequency of the guest's TSC in kHz.
    pub(crate) fn tsc_khz(&self) -> Result<u32, kvm_ioctls::Error> {
        self.fd.get_tsc_khz()
    }

    /// Sets what every vCPU starts with. Floating point state is KVM's reset state, as the ABI wants it.
    pub(crate) fn set_up(&self, cpuid: &CpuId) -> Result<(), VcpuError> {
        self.fd.set_cpuid2(cpuid).map_err(VcpuError::SetCpuid)?;
        msr::set(&self.fd)?;
        lapic::set(&self.fd).map_err(VcpuError::Lapic)
    }

    /// Makes this the vCPU that boots, at the 64-bit entry point `entry`; the others wait for it to start them.
    pub(crate) fn set_boot_registers(&self, entry: u64) -> Result<(), VcpuError> {
        let mut sregs = self.fd.get_sregs().map_err(VcpuError::Registers)?;
        long_mode::set_special_registers(&mut sregs);
        self.fd.set_sregs(&sregs).map_err(VcpuError::Registers)?;
        self.fd.set_regs(&long_mode::registers(entry)).map_err(VcpuError::Registers)
    }

    /// Runs until the machine's end, and says it where this vCPU is the cause.
    pub(crate) fn run(mut self, machine: &Machine) {
        // The thread that started this one may block all signals.
        if let Err(source) = unblock_signal(stop_signal()) {
            let source = VcpuError::UnblockSignal(source);
            return machine.end.reach(Err(RunError::Vcpu { vcpu: self.id, source }));
        }
        let _running = Running::announce(self.fd.get_kvm_run());
        while !machine.end.is_reached() {
            match self.step(machine) {
                Ok(None) => {}
                Ok(Some(exit)) => machine.end.reach(Ok(exit)),
                Err(source) => machine.end.reach(Err(RunError::Vcpu { vcpu: self.id, source })),
            }
        }
    }

    /// Enters the guest once and does what it left for; the exit where that ends the machine.
    fn step(&mut self, machine: &Machine) -> Result<Option<VmExit>, VcpuError> {
        match self.fd.run() {
            Ok(VcpuExit::IoOut(port, data)) => return Ok(machine.ports.write(port, data)),
            Ok(VcpuExit::IoIn(port, data)) => machine.ports.read(port, data),
            Ok(VcpuExit::MmioRead(address, data)) => machine.bus.read(address, data),
            Ok(VcpuExit::MmioWrite(address, data)) => machine.bus.write(address, data),
            Ok(VcpuExit::Shutdown) => return Ok(Some(VmExit::TripleFault)),
            Ok(VcpuExit::Intr) => {}
            Ok(VcpuExit::FailEntry(reason, cpu)) => return Err(VcpuError::FailEntry { reason, cpu }),
            Ok(VcpuExit::InternalError) => return Err(self.internal_error()),
            Ok(VcpuExit::Hypercall(call)) => *call.ret = hypercall(machine, call.nr, &call.args)?,
            Ok(VcpuExit::MemoryFault { flags, gpa, size }) => {
                self.memory_fault(machine, flags, gpa, size)?;
            }
            Ok(VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SEV_TERM, data)) => {
                return Err(VcpuError::Terminated { request: data.first().copied().unwrap_or_default() });
            }
            Ok(other) => return Err(VcpuError::Unexpected { exit: format!("{other:?}") }),
            // The stop signal; or a vCPU that waited for its start-up interrupt and got it.
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {}
            Err(error) if error.errno() == libc::EFAULT => return Err(VcpuError::PageGone(error)),
            Err(error) => return Err(VcpuError::Run(error)),
        }
        Ok(None)
    }

    /// The guest touched memory that it does not have so.
    fn memory_fault(&mut self, machine: &Machine, flags: u64, gpa: u64, size: u64) -> Result<(), VcpuError> {
        let Some(private) = &machine.private else {
            return Err(VcpuError::PageGone(kvm_ioctls::Error::new(libc::EFAULT)));
        };
        let again = self.last_fault == (gpa, flags);
        (self.last_fault, self.faults) = ((gpa, flags), if again { self.faults + 1 } else { 0 });
        if self.faults > MOST_FAULTS {
            return Err(VcpuError::Stuck { gpa });
        }
        Ok(private.fault(flags, gpa, size)?)
    }

    fn internal_error(&mut self) -> VcpuError {
        let rip = self.fd.get_regs().map_or(0, |registers| registers.rip);
        // SAFETY: after KVM_EXIT_INTERNAL_ERROR this is the member of the union that the kernel filled.
        let internal = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.internal };
        let count = internal.data.len().min(internal.ndata as usize);
        VcpuError::Internal { suberror: internal.suberror, rip, data: internal.data[..count].to_vec() }
    }
}

/// What a hypercall returns to the guest.
fn hypercall(machine: &Machine, number: u64, arguments: &[u64; 6]) -> Result<u64, VcpuError> {
    match &machine.private {
        Some(private) => Ok(private.hypercall(number, arguments)?),
        None => Err(VcpuError::Unexpected { exit: format!("hypercall {number}") }),
    }
}

/// What a guest says with a request for its end, for people.
fn termination(request: u64) -> String {
    let (set, code) = (request >> 12 & 0xf, request >> 16 & 0xff);
    let reason = match (set, code) {
        (STUB_REASONS, 0x10..=0x1f) => "the stub refuses its hash page".to_owned(),
        (STUB_REASONS, 0x20) => "the stub finds another encryption bit in the CPUID page".to_owned(),
        (STUB_REASONS, 0x30) => "the processor refuses to validate a page".to_owned(),
        (STUB_REASONS, 0x31) => "a page was valid before the stub validated it".to_owned(),
        (STUB_REASONS, 0x40..=0x4f) => {
            let parts = ["kernel", "initramfs", "archive's header", "launch.json", "archive's end"];
            let part = parts.get(usize::try_from(code & 0xf).unwrap_or(usize::MAX));
            format!("the staged {} is not what was measured", part.unwrap_or(&"part"))
        }
        (0, 0) => "for no particular reason".to_owned(),
        (0, 1) => "it does not speak the host's version of the GHCB protocol".to_owned(),
        (0, 2) => "the host lacks features that it needs".to_owned(),
        (1, _) => "Linux cannot go on as an SNP guest".to_owned(),
        _ => "unknown".to_owned(),
    };
    format!("{reason} (reason {set:#x}:{code:#x})")
}

thread_local! {
    /// The run page of the vCPU that this thread runs.
    static RUN_PAGE: Cell<*mut kvm_run> = const { Cell::new(ptr::null_mut()) };
}

/// Keeps [`RUN_PAGE`] set for as long as the page is mapped. Declared after the vCPU, so dropped before it.
struct Running;

impl Running {
    fn announce(page: &mut kvm_run) -> Self {
        RUN_PAGE.set(page);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUN_PAGE.set(ptr::null_mut());
    }
}

/// The signal that makes a vCPU's thread look at [`End`].
pub(crate) fn stop_signal() -> c_int {
    SIGRTMIN()
}

/// Installs the handler of [`stop_signal`] for the process.
///
/// # Errors
/// What sigaction(2) says.
pub(crate) fn install_stop_handler() -> Result<(), vmm_sys_util::errno::Error> {
    extern "C" fn leave_guest(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
        let page = RUN_PAGE.get();
        if !page.is_null() {
            // SAFETY: a page that is set is mapped until `Running` clears it on this same thread.
            unsafe { (*page).immediate_exit = 1 };
        }
    }
    register_signal_handler(stop_signal(), leave_guest)
}

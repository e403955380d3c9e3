//! Why an SNP guest cannot be launched: each variant names the step.

use std::io;

use snp_layout::LayoutError;

use crate::memory::MemoryError;
use crate::vcpu::VcpuError;

/// An SNP guest cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum SnpError {
    /// The host lacks something.
    #[error("this host cannot run SNP guests: {name}: {lack}")]
    Precondition {
        /// The precondition's name.
        name: &'static str,
        /// What is not as it should be.
        lack: String,
    },
    /// The policy.
    #[error("the guest's policy {policy:#x} is none that KVM takes")]
    Policy {
        /// The policy.
        policy: u64,
    },
    /// Kernel or initramfs.
    #[error("cannot read the {what}")]
    Read {
        /// Which one.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The initramfs is not one file.
    #[error("the initramfs of an SNP guest is one file")]
    Initramfs,
    /// The pages of the launch.
    #[error("cannot lay out the guest's memory")]
    Layout(#[from] LayoutError),
    /// Memory of this process.
    #[error("cannot make guest memory")]
    Memory(#[from] MemoryError),
    /// /dev/sev.
    #[error("cannot open /dev/sev")]
    OpenSev(#[source] io::Error),
    /// KVM_CREATE_VM with the type of SNP guests.
    #[error("cannot create the SNP guest (KVM_CREATE_VM)")]
    CreateVm(#[source] kvm_ioctls::Error),
    /// KVM_ENABLE_CAP of KVM_CAP_EXIT_HYPERCALL.
    #[error("cannot have KVM pass on changes of pages (KVM_CAP_EXIT_HYPERCALL)")]
    PassHypercalls(#[source] kvm_ioctls::Error),
    /// A command to the processor's firmware.
    #[error("{command} failed{}", firmware(*.status))]
    Firmware {
        /// Its name.
        command: &'static str,
        /// What the firmware says, or 0 where it was not asked.
        status: u32,
        /// What KVM says.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// KVM_SEV_SNP_LAUNCH_UPDATE.
    #[error("KVM_SEV_SNP_LAUNCH_UPDATE of the {kind} pages ({origin}) at {gpa:#x} failed{}", firmware(*.status))]
    Update {
        /// The kind of page.
        kind: &'static str,
        /// What they are made of.
        origin: &'static str,
        /// The first that was not launched.
        gpa: u64,
        /// What the firmware says, or 0 where it was not asked.
        status: u32,
        /// What KVM says.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// KVM says of an update that went well that it did nothing, or other pages.
    #[error(
        "KVM_SEV_SNP_LAUNCH_UPDATE of the pages at {gpa:#x} went astray: {len:#x} bytes are left of {before:#x}"
    )]
    Astray {
        /// Where it should go on.
        gpa: u64,
        /// What KVM says is left.
        len: u64,
        /// What was asked for.
        before: u64,
    },
    /// The firmware does not take the CPUID page, nor as the firmware has corrected it.
    #[error("KVM_SEV_SNP_LAUNCH_UPDATE: the firmware refuses the CPUID page twice; it has changed {}", changed.join(", "))]
    Cpuid {
        /// The leaves that it would have otherwise.
        changed: Vec<String>,
    },
    /// CPUID of this host.
    #[error("cannot make the CPUID page")]
    CpuidPage(#[from] snp_layout::cpuid_page::TooManyLeaves),
    /// The host's processor has its encryption bit elsewhere.
    #[error("the processor's encryption bit is {}, and the guest's page tables have bit {expected}", .found.map_or_else(|| "unknown".to_owned(), |bit| bit.to_string()))]
    EncryptionBit {
        /// What CPUID leaf 0x8000001f says.
        found: Option<u32>,
        /// That of the layout.
        expected: u32,
    },
    /// Private memory.
    #[error("cannot give the guest private memory at {gpa:#x} ({step})")]
    PrivateMemory {
        /// The ioctl.
        step: &'static str,
        /// First guest physical address.
        gpa: u64,
        /// What KVM says.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// Pages or files cannot be put where the guest finds them.
    #[error("cannot write to guest memory at {gpa:#x}")]
    Write {
        /// The address.
        gpa: u64,
        /// Why.
        #[source]
        source: vm_memory::GuestMemoryError,
    },
    /// A vCPU.
    #[error("cannot set up vCPU {vcpu}")]
    Vcpu {
        /// The local APIC id.
        vcpu: u8,
        /// Why.
        #[source]
        source: VcpuError,
    },
    /// Registers that were read back are not those that were predicted: the digest would not be either.
    #[error(
        "vCPU {vcpu}: KVM has {found:#x} in {register}, and {expected:#x} would be measured as predicted: not launched"
    )]
    Register {
        /// The local APIC id.
        vcpu: u8,
        /// The register.
        register: &'static str,
        /// What KVM has.
        found: u64,
        /// What the layout says.
        expected: u64,
    },
}

/// What the firmware's status means (AMD 56860, table 11, and 55766), for those that a host's owner can do something about.
fn firmware(status: u32) -> String {
    let meaning = match status {
        0 => return String::new(),
        0x01 => "invalid platform state",
        0x02 => "invalid guest state",
        0x03 => "invalid configuration of the platform",
        0x04 => "invalid length",
        0x07 => "the policy is refused, or the firmware is older than it asks for",
        0x0b => "bad signature",
        0x0d => "wrong ASID",
        0x10 => "a WBINVD and a flush of the data fabric are needed",
        0x16 => "invalid parameter",
        0x17 => "out of resources",
        0x1a => "a page has a state that it should not have",
        0x1b => "a page has another size",
        0x1d => "a page has another owner",
        _ => "unknown to this program",
    };
    format!(": firmware status {status:#x} ({meaning})")
}

//! Model specific registers that a vCPU starts with; all others keep KVM's reset values.

use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

/// The registers cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum MsrError {
    /// The ioctl failed.
    #[error("cannot set the model specific registers")]
    Set(#[source] kvm_ioctls::Error),
    /// KVM refused one.
    #[error("cannot set the model specific register {index:#x}")]
    Refused {
        /// The register.
        index: u32,
    },
    /// The list is too long.
    #[error("cannot list the model specific registers")]
    List(#[source] vmm_sys_util::fam::Error),
}

/// IA32_MISC_ENABLE with fast strings: without it Linux gives up `rep movsb` on Intel.
const MISC_ENABLE: (u32, u64) = (0x1a0, 1);
/// IA32_MTRR_DEF_TYPE: MTRRs enabled, all memory write-back.
const MTRR_DEF_TYPE: (u32, u64) = (0x2ff, 1 << 11 | 6);

/// Sets the registers of a fresh vCPU.
///
/// # Errors
/// See [`MsrError`].
pub(crate) fn set(vcpu: &VcpuFd) -> Result<(), MsrError> {
    let entries =
        [MISC_ENABLE, MTRR_DEF_TYPE].map(|(index, data)| kvm_msr_entry { index, data, ..Default::default() });
    let msrs = Msrs::from_entries(&entries).map_err(MsrError::List)?;
    let count = vcpu.set_msrs(&msrs).map_err(MsrError::Set)?;
    match entries.get(count) {
        None => Ok(()),
        Some(refused) => Err(MsrError::Refused { index: refused.index }),
    }
}

//! The commands that KVM passes on to the processor's firmware to launch a guest (Linux:
//! Documentation/virt/kvm/x86/amd-memory-encryption.rst), with the structures of kvm-bindings.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::thread;

use kvm_bindings::{
    kvm_sev_cmd, kvm_sev_init, kvm_sev_snp_launch_finish, kvm_sev_snp_launch_start,
    kvm_sev_snp_launch_update, sev_cmd_id_KVM_SEV_INIT2, sev_cmd_id_KVM_SEV_SNP_LAUNCH_FINISH,
    sev_cmd_id_KVM_SEV_SNP_LAUNCH_START, sev_cmd_id_KVM_SEV_SNP_LAUNCH_UPDATE,
};
use kvm_ioctls::VmFd;
use snp_layout::{Page, PageKind};

use super::cpuid;
use super::host::SEV_DEVICE;
use super::{IdBlock, SnpError};

const PAGE: u64 = 4096;
/// `SEV_RET_INVALID_PARAM`.
const INVALID_PARAM: u32 = 0x16;
/// How often KVM may say that an update should be tried again without having done any of it.
const PATIENCE: u32 = 1_000;

/// The firmware, for one guest.
pub(super) struct Firmware<'a> {
    vm: &'a VmFd,
    device: File,
}

impl<'a> Firmware<'a> {
    pub(super) fn open(vm: &'a VmFd) -> Result<Self, SnpError> {
        let device = OpenOptions::new().read(true).write(true).open(SEV_DEVICE).map_err(SnpError::OpenSev)?;
        Ok(Self { vm, device })
    }

    /// KVM_SEV_INIT2: before the first vCPU. KVM adds SNP to the features by itself.
    pub(super) fn init(&self) -> Result<(), SnpError> {
        let mut init = kvm_sev_init::default();
        self.command(sev_cmd_id_KVM_SEV_INIT2, "KVM_SEV_INIT2", &mut init)
    }

    /// KVM_SEV_SNP_LAUNCH_START.
    pub(super) fn start(&self, policy: u64) -> Result<(), SnpError> {
        let mut start = kvm_sev_snp_launch_start { policy, ..Default::default() };
        self.command(sev_cmd_id_KVM_SEV_SNP_LAUNCH_START, "KVM_SEV_SNP_LAUNCH_START", &mut start)
    }

    /// Launches all pages in their order, those side by side of one kind at once. `cpuid` is what the CPUID page has.
    pub(super) fn update(&self, pages: &[Page], cpuid: &[u8; 4096]) -> Result<(), SnpError> {
        let joined = |before: &Page, page: &Page| {
            before.kind.code() == page.kind.code() && before.gpa + PAGE == page.gpa
        };
        for range in pages.chunk_by(joined) {
            let mut bytes: Vec<u8> = Vec::with_capacity(range.len() * 4096);
            for page in range {
                match &page.kind {
                    PageKind::Normal(contents) => bytes.extend(&contents[..]),
                    PageKind::Cpuid => bytes.extend(cpuid),
                    PageKind::Zero | PageKind::Unmeasured | PageKind::Secrets => bytes.extend([0; 4096]),
                }
            }
            if range[0].kind == PageKind::Cpuid {
                self.update_cpuid(&range[0], &mut bytes)?;
            } else {
                self.update_range(&range[0], &mut bytes)?;
            }
        }
        Ok(())
    }

    /// The firmware writes back a page that it would take, where it does not take this one.
    fn update_cpuid(&self, page: &Page, bytes: &mut [u8]) -> Result<(), SnpError> {
        let offered = bytes.to_vec();
        match self.update_range(page, bytes) {
            Err(SnpError::Update { status: INVALID_PARAM, .. }) => {}
            result => return result,
        }
        let changed = cpuid::changes(&offered, bytes);
        log::warn!("the firmware has corrected the CPUID page: {}", changed.join(", "));
        match self.update_range(page, bytes) {
            Err(SnpError::Update { status: INVALID_PARAM, .. }) => Err(SnpError::Cpuid { changed }),
            result => result,
        }
    }

    /// Launches pages of one kind from `first` on. KVM may do a part of them, and says how far it came.
    fn update_range(&self, first: &Page, bytes: &mut [u8]) -> Result<(), SnpError> {
        let end = first.gpa + bytes.len() as u64;
        let mut update = kvm_sev_snp_launch_update {
            gfn_start: first.gpa / PAGE,
            // KVM looks at no bytes of pages of zeros.
            uaddr: if first.kind == PageKind::Zero { 0 } else { bytes.as_mut_ptr() as u64 },
            len: bytes.len() as u64,
            type_: first.kind.code(),
            ..Default::default()
        };
        let mut tries = 0;
        while update.len > 0 {
            let (gpa, before) = (update.gfn_start * PAGE, update.len);
            match self.try_command(sev_cmd_id_KVM_SEV_SNP_LAUNCH_UPDATE, &mut update) {
                Err((error, _)) if is_again(&error) && tries < PATIENCE => {
                    tries += 1;
                    thread::yield_now();
                    continue;
                }
                Err((source, status)) => {
                    let (kind, origin) = (first.kind.name(), first.origin.name());
                    return Err(SnpError::Update { kind, origin, gpa, status, source });
                }
                Ok(()) => tries = 0,
            }
            let len = update.len;
            let behind = update.gfn_start.checked_mul(PAGE).and_then(|gpa| gpa.checked_add(len));
            if len >= before || behind != Some(end) {
                return Err(SnpError::Astray { gpa, len, before });
            }
        }
        Ok(())
    }

    /// KVM_SEV_SNP_LAUNCH_FINISH: KVM measures the vCPUs' registers, and the guest may run.
    pub(super) fn finish(&self, host_data: [u8; 32], id: Option<&IdBlock>) -> Result<(), SnpError> {
        let mut finish = kvm_sev_snp_launch_finish { host_data, ..Default::default() };
        if let Some(id) = id {
            finish.id_block_uaddr = id.block.as_ptr() as u64;
            finish.id_auth_uaddr = id.auth.as_ptr() as u64;
            (finish.id_block_en, finish.auth_key_en) = (1, u8::from(id.author_key));
        }
        self.command(sev_cmd_id_KVM_SEV_SNP_LAUNCH_FINISH, "KVM_SEV_SNP_LAUNCH_FINISH", &mut finish)
    }

    fn command<T>(&self, id: u32, command: &'static str, data: &mut T) -> Result<(), SnpError> {
        self.try_command(id, data).map_err(|(source, status)| SnpError::Firmware { command, status, source })
    }

    /// What KVM says, and the firmware.
    fn try_command<T>(&self, id: u32, data: &mut T) -> Result<(), (kvm_ioctls::Error, u32)> {
        let mut command = kvm_sev_cmd {
            id,
            data: std::ptr::from_mut(data) as u64,
            sev_fd: self.device.as_raw_fd().cast_unsigned(),
            ..Default::default()
        };
        self.vm.encrypt_op_sev(&mut command).map_err(|source| (source, command.error))
    }
}

fn is_again(error: &kvm_ioctls::Error) -> bool {
    matches!(error.errno(), libc::EAGAIN | libc::EINTR)
}

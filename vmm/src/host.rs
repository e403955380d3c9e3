//! What a host needs to run a virtual machine, and what to do where it lacks it. Used by `kcradle check`, and by
//! `builder`, which refuses a host that cannot work before it hangs in it.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use kvm_ioctls::{Cap, Kvm};

/// The version of KVM's interface, stable since Linux 2.6.22.
const KVM_API_VERSION: i32 = 12;

/// Capabilities without which nothing boots, with KVM's names.
const REQUIRED: [(Cap, &str); 12] = [
    (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::SetTssAddr, "KVM_CAP_SET_TSS_ADDR"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
    (Cap::Clocksource, "KVM_CAP_CLOCKSOURCE"),
    (Cap::MpState, "KVM_CAP_MP_STATE"),
    (Cap::Irqfd, "KVM_CAP_IRQFD"),
    (Cap::Ioeventfd, "KVM_CAP_IOEVENTFD"),
    (Cap::IrqRouting, "KVM_CAP_IRQ_ROUTING"),
    (Cap::GetTscKhz, "KVM_CAP_GET_TSC_KHZ"),
    (Cap::TscDeadlineTimer, "KVM_CAP_TSC_DEADLINE_TIMER"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
];

/// Something that this host lacks.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no device.
    #[error("there is no {}", path.display())]
    NoDevice {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The device may not be opened.
    #[error("no permission to open {}", path.display())]
    NoPermission {
        /// The device.
        path: PathBuf,
    },
    /// The device cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The device.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The host's KVM is one that normal kernels do not run on.
    #[error("the host's KVM back end is kvm_pvm, which cannot run an ordinary kernel")]
    Pvm,
    /// KVM speaks another version of its interface.
    #[error("KVM has interface version {version}, not {KVM_API_VERSION}")]
    ApiVersion {
        /// The version.
        version: i32,
    },
    /// KVM lacks capabilities.
    #[error("KVM lacks {}", names.join(", "))]
    Capabilities {
        /// Their names.
        names: Vec<&'static str>,
    },
}

impl HostError {
    /// What the owner of the host can do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoDevice { .. } => {
                "enable virtualisation in the firmware (or nested virtualisation in the outer hypervisor) and \
                 load its module: modprobe kvm_intel, or modprobe kvm_amd"
            }
            Self::NoPermission { .. } => {
                "become a member of the device's group: usermod -aG kvm USER, then log in again"
            }
            Self::Open { .. } => {
                "see that the kvm_intel or kvm_amd module is loaded and the device is not taken"
            }
            Self::Pvm => {
                "use a host with hardware virtualisation, where kvm_intel or kvm_amd is loaded in its place"
            }
            Self::ApiVersion { .. } | Self::Capabilities { .. } => {
                "run a Linux of version 5.10 or later on the host"
            }
        }
    }
}

/// Opens KVM where this host can run a virtual machine.
///
/// # Errors
/// The first thing that is missing; [`HostError::remedy`] says what to do about it.
pub fn check() -> Result<Kvm, HostError> {
    check_at(Path::new("/dev/kvm"), Path::new("/sys/module"))
}

fn check_at(device: &Path, modules: &Path) -> Result<Kvm, HostError> {
    check_back_end(modules)?;
    check_device(device)?;
    let open = |source: kvm_ioctls::Error| HostError::Open { path: device.into(), source: source.into() };
    let kvm = Kvm::new().map_err(open)?;
    let version = kvm.get_api_version();
    if version != KVM_API_VERSION {
        return Err(HostError::ApiVersion { version });
    }
    let missing = |(cap, name): (Cap, &'static str)| (!kvm.check_extension(cap)).then_some(name);
    let names: Vec<_> = REQUIRED.into_iter().filter_map(missing).collect();
    if names.is_empty() { Ok(kvm) } else { Err(HostError::Capabilities { names }) }
}

/// Refuses kvm_pvm, which runs an unmodified kernel one emulated instruction at a time, where it runs it at all.
fn check_back_end(modules: &Path) -> Result<(), HostError> {
    let loaded = |name: &str| modules.join(name).exists();
    if loaded("kvm_pvm") && !loaded("kvm_intel") && !loaded("kvm_amd") { Err(HostError::Pvm) } else { Ok(()) }
}

/// Tells a missing device from a forbidden one.
fn check_device(path: &Path) -> Result<(), HostError> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(match source.kind() {
            io::ErrorKind::NotFound => HostError::NoDevice { path: path.into() },
            io::ErrorKind::PermissionDenied => HostError::NoPermission { path: path.into() },
            _ => HostError::Open { path: path.into(), source },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn pvm_alone_is_refused_and_beside_a_hardware_back_end_it_is_not() {
        let modules = tempfile::tempdir().unwrap();
        assert!(check_back_end(modules.path()).is_ok());
        fs::create_dir(modules.path().join("kvm_pvm")).unwrap();
        assert!(matches!(check_back_end(modules.path()), Err(HostError::Pvm)));
        fs::create_dir(modules.path().join("kvm_amd")).unwrap();
        assert!(check_back_end(modules.path()).is_ok());
    }

    #[test]
    fn a_missing_device_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let device = empty.path().join("kvm");
        let Err(error) = check_at(&device, empty.path()) else { panic!("no error") };
        assert!(matches!(&error, HostError::NoDevice { path } if *path == device));
        assert!(error.remedy().contains("modprobe"));
    }

    #[test]
    fn something_else_in_its_place_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(check_device(directory.path()), Err(HostError::Open { .. })));
    }
}

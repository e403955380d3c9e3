//! What a host needs to run SNP guests, one named precondition after the other, and what to do where it lacks one.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use kvm_bindings::{
    KVM_CAP_EXIT_HYPERCALL, KVM_CAP_GUEST_MEMFD, KVM_CAP_MEMORY_ATTRIBUTES, KVM_CAP_VM_TYPES,
    KVM_MEMORY_ATTRIBUTE_PRIVATE, KVM_X86_SNP_VM, KVM_X86_SW_PROTECTED_VM,
};
use kvm_ioctls::Kvm;

use super::{Isolation, SnpError};
use crate::host;

/// KVM's number of the hypercall by which a guest says which pages are private (Linux:
/// Documentation/virt/kvm/x86/hypercalls.rst).
pub(super) const MAP_GPA_RANGE: u64 = 12;

/// Where kvm_amd says whether it can run SNP guests.
const PARAMETER: &str = "/sys/module/kvm_amd/parameters/sev_snp";
/// The processor's firmware.
pub(super) const SEV_DEVICE: &str = "/dev/sev";

/// Something that SNP guests need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// Its name, which stays.
    pub name: &'static str,
    /// What is not as it should be; `None` where it is met.
    pub lack: Option<String>,
    /// What the owner of the host can do.
    pub remedy: &'static str,
}

/// A capability of KVM: name, number, bits that it must have.
type Capability = (&'static str, u32, u32);

const CAPABILITIES: [Capability; 4] = [
    ("KVM_CAP_VM_TYPES", KVM_CAP_VM_TYPES, 1 << KVM_X86_SNP_VM),
    ("KVM_CAP_GUEST_MEMFD", KVM_CAP_GUEST_MEMFD, 1),
    ("KVM_CAP_MEMORY_ATTRIBUTES", KVM_CAP_MEMORY_ATTRIBUTES, KVM_MEMORY_ATTRIBUTE_PRIVATE),
    ("KVM_CAP_EXIT_HYPERCALL", KVM_CAP_EXIT_HYPERCALL, 1 << MAP_GPA_RANGE),
];

const ENABLE: &str = "on an EPYC of the third generation (Milan) or later, enable in the firmware: SMEE, SEV-SNP support, SNP memory (RMP) \
     coverage; do not pass kvm_amd.sev_snp=0; `dmesg | grep -i -e sev -e rmp` says why it is off";
const UPDATE: &str = "run Linux 6.11 or later on the host, with CONFIG_KVM_AMD_SEV";

/// Each precondition, in the order in which a launch needs them.
#[must_use]
pub fn check() -> Vec<Precondition> {
    let kvm = host::check();
    let parameter = Precondition { name: "sev_snp", lack: parameter(Path::new(PARAMETER)), remedy: ENABLE };
    let device = Precondition {
        name: SEV_DEVICE,
        lack: device(Path::new(SEV_DEVICE)),
        remedy: "load the module ccp, and let the user read and write /dev/sev (a group and a udev rule)",
    };
    let (lack, remedy) = match &kvm {
        Ok(_) => (None, ""),
        Err(error) => (Some(error.to_string()), error.remedy()),
    };
    let mut found = vec![Precondition { name: "KVM", lack, remedy }, parameter, device];
    let capability = |capability: Capability| {
        let lack = match &kvm {
            Ok(kvm) => missing(kvm, capability),
            Err(_) => Some("KVM cannot be asked".to_owned()),
        };
        Precondition { name: capability.0, lack, remedy: UPDATE }
    };
    found.extend(CAPABILITIES.into_iter().map(capability));
    found
}

/// Opens KVM where it can run a guest with private memory.
///
/// # Errors
/// The first precondition that is not met.
pub(super) fn open(isolation: Isolation) -> Result<Kvm, SnpError> {
    let unmet = |name, lack| SnpError::Precondition { name, lack };
    let kvm = host::check().map_err(|error| unmet("KVM", error.to_string()))?;
    let mut capabilities = CAPABILITIES;
    match isolation {
        Isolation::Processor => {
            for (name, lack) in
                [("sev_snp", parameter(Path::new(PARAMETER))), (SEV_DEVICE, device(Path::new(SEV_DEVICE)))]
            {
                lack.map_or(Ok(()), |lack| Err(unmet(name, lack)))?;
            }
        }
        Isolation::Software => capabilities[0].2 = 1 << KVM_X86_SW_PROTECTED_VM,
    }
    for capability in capabilities {
        missing(&kvm, capability).map_or(Ok(()), |lack| Err(unmet(capability.0, lack)))?;
    }
    Ok(kvm)
}

fn missing(kvm: &Kvm, (_, number, needed): Capability) -> Option<String> {
    let found = kvm.check_extension_raw(u64::from(number)).max(0).cast_unsigned();
    (found & needed != needed).then(|| format!("KVM has {found:#x}, and {needed:#x} is needed"))
}

fn parameter(path: &Path) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(value) if matches!(value.trim(), "Y" | "1") => None,
        Ok(value) => Some(format!("{} is {:?}, not Y", path.display(), value.trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("there is no {}: no kvm_amd, or an old one", path.display()))
        }
        Err(error) => Some(format!("cannot read {}: {error}", path.display())),
    }
}

fn device(path: &Path) -> Option<String> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("there is no {}", path.display()))
        }
        Err(error) => Some(format!("cannot open {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_has_to_say_yes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (value, good) in [("Y\n", true), ("1\n", true), ("N\n", false), ("0\n", false), ("", false)] {
            fs::write(file.path(), value).unwrap();
            assert_eq!(parameter(file.path()).is_none(), good, "{value:?}");
        }
        assert!(parameter(Path::new("/nowhere")).unwrap().contains("there is no /nowhere"));
    }

    #[test]
    fn a_device_has_to_be_there_to_be_read_and_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(device(file.path()), None);
        assert!(device(Path::new("/nowhere")).unwrap().contains("there is no /nowhere"));
        assert!(device(Path::new("/")).unwrap().contains("cannot open"));
    }

    #[test]
    fn every_precondition_has_a_row_whatever_the_host_is() {
        let names: Vec<_> = check().iter().map(|row| row.name).collect();
        let capabilities = CAPABILITIES.map(|capability| capability.0);
        assert_eq!(names, [&["KVM", "sev_snp", SEV_DEVICE][..], &capabilities].concat());
    }
}

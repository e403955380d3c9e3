//! `cradle.json`: what a runtime package (kernel, initramfs) consists of.

use serde::{Deserialize, Serialize};

/// The version of the package format that this code reads. The original's is 2, with firmware images.
pub const VERSION: u32 = 3;

/// The runtime package that a pod directory's `cradle` link points to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PackageSpec {
    /// [`VERSION`].
    pub version: u32,
    /// The kind of machine the package boots.
    pub machine: Machine,
    /// The kernel.
    pub kernel: Kernel,
    /// What else an SNP guest is started with; a package of another kind has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snp: Option<SnpPackage>,
}

/// The kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Machine {
    /// A plain KVM guest.
    Default,
    /// A guest whose memory is encrypted and measured (docs/snp.md).
    Snp,
}

impl Machine {
    /// The name in `cradle.json` and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Snp => "snp",
        }
    }
}

/// The kernel of a package; paths are file names inside the package's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Kernel {
    /// The uncompressed ELF kernel (`vmlinux`); of an SNP guest the bzImage.
    pub kernel: String,
    /// The initramfs, an uncompressed newc archive.
    pub initrd: String,
    /// The release that `uname -r` prints in the guest.
    pub release: String,
}

/// The part of a package that SNP guests alone have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SnpPackage {
    /// The stub, a flat image: a file name inside the package's folder.
    pub stub: String,
    /// The kernel's command line, the same for all pods: it is measured.
    pub command_line: String,
    /// What the files were when the package was made.
    pub digests: SnpDigests,
}

/// SHA-256 of a package's files, 64 lower-case hexadecimal digits each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SnpDigests {
    /// Of the kernel.
    pub kernel: String,
    /// Of the initramfs.
    pub initrd: String,
    /// Of the stub.
    pub stub: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_both_kinds_are_read_as_they_are_written() {
        let plain = r#"{"version":3,"machine":"default","kernel":{"kernel":"vmlinux","initrd":"initramfs","release":"6.12"}}"#;
        let package: PackageSpec = serde_json::from_str(plain).unwrap();
        assert_eq!((package.machine, &package.snp), (Machine::Default, &None));
        assert_eq!(serde_json::to_string(&package).unwrap(), plain);
        let snp = concat!(
            r#"{"version":3,"machine":"snp","kernel":{"kernel":"bzImage","initrd":"initramfs","release":"6.12"},"#,
            r#""snp":{"stub":"stub","commandLine":"panic=-1","digests":{"kernel":"00","initrd":"01","stub":"02"}}}"#
        );
        let package: PackageSpec = serde_json::from_str(snp).unwrap();
        assert_eq!(serde_json::to_string(&package).unwrap(), snp);
        assert!(serde_json::from_str::<PackageSpec>(&snp.replace("02", r#"02","more":"03"#)).is_err());
    }
}

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
}

/// The kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Machine {
    /// A plain KVM guest.
    Default,
}

/// The kernel of a package; paths are file names inside the package's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Kernel {
    /// The uncompressed ELF kernel (`vmlinux`).
    pub kernel: String,
    /// The initramfs, an uncompressed newc archive.
    pub initrd: String,
    /// The release that `uname -r` prints in the guest.
    pub release: String,
}

//! The memory of an SNP guest when it starts (docs/snp.md): of kernel, initramfs, command line, launch.json, memory, vCPUs
//! and stub one [`Layout`], an ordered list of pages and the registers of each vCPU.
//!
//! The launcher gives this list to the processor's firmware, the digest is computed over it and `attest` explains it, so
//! that none of them can have another idea of what is measured. No I/O, no KVM.
#![forbid(unsafe_code)]

mod acpi;
mod archive;
mod boot_params;
pub mod bzimage;
mod cc_blob;
pub mod cpuid_page;
pub mod digest;
mod long_mode;
pub mod page;
pub mod run;
pub mod vcpu;
mod vmsa;

pub mod layout;

pub use acpi::DEVICES;
pub use digest::LaunchDigest;
pub use layout::{Inputs, Layout, LayoutError, Staged};
pub use page::{Contents, Page, PageKind};
pub use run::{Origin, Run};
pub use snp_stub::map;
pub use vcpu::Vcpu;

//! The virtual machine monitor: KVM, memory, vCPUs, boot and devices.
//!
//! Knows nothing of images: it boots a kernel with an initramfs, disks and a vsock, and says how the guest ended.
//! [`VmConfig`] says what to build, [`Vm::build`] builds it, [`Vm::run`] runs it to its [`VmExit`].

pub mod boot;
mod builder;
pub mod bus;
mod config;
mod cpu;
pub mod devices;
mod disposal;
pub mod early_console;
pub mod event_loop;
mod exit;
pub mod host;
mod kvm;
pub mod memory;
mod ports;
mod program_pages;
pub mod sandbox;
pub mod seccomp;
pub mod snp;
pub mod tap;
mod timeline;
mod vcpu;
pub mod virtio;
mod vm;

pub use boot::initrd::InitrdPart;
pub use builder::BuildError;
pub use config::{MAX_VCPUS, VmConfig};
pub use exit::{RunError, VmExit};
pub use host::HostError;
pub use memory::file_pages::Placed;
pub use timeline::{Mark, Phase, Timeline};
pub use vm::{Vm, VmHandle};

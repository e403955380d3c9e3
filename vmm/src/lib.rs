//! The virtual machine monitor: KVM, memory, vCPUs, boot and devices.
//!
//! Knows nothing of images: it boots a kernel with an initramfs, disks and a vsock, and says how the guest ended.

pub mod bus;
pub mod devices;
pub mod event_loop;
pub mod memory;
pub mod seccomp;
pub mod virtio;

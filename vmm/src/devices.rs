//! The devices of a virtual machine, each a [`crate::virtio::VirtioDevice`].

pub mod block;
pub mod console;
pub mod fs;
pub mod net;
pub mod rng;
pub mod vsock;

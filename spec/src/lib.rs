//! What the host and the guest of a pod agree on, and nothing else.
//!
//! A pod is one virtual machine. The host writes a [`LaunchSpec`] to `launch.json` in the pod directory and
//! hands it to the guest in the initramfs as [`LAUNCH_PATH`]; the guest answers over the vsock ports of
//! [`vsock`] with the [`frame`]s of the stdio stream; both count the boot's [`Stage`]s on one I/O port; the
//! host's own tools talk to the VM's process in the messages of [`control`].
#![forbid(unsafe_code)]

pub mod attestation;
pub mod boot;
pub mod control;
pub mod exit;
pub mod frame;
pub mod launch;
pub mod limits;
pub mod mac;
pub mod package;
pub mod pod;
pub mod vsock;

pub use boot::Stage;
pub use exit::{ContainerExit, ExitRecord};
pub use launch::{ContainerSpec, LaunchSpec};
pub use limits::{DiskLimits, LimitChanges};
pub use mac::MacAddress;
pub use package::PackageSpec;
pub use pod::PodFile;

/// Where the guest finds its [`LaunchSpec`] as JSON, in the initramfs.
pub const LAUNCH_PATH: &str = "/launch.json";

//! The vsock addresses of a pod (virtio 1.3, section 5.10).

/// The context id of the host.
pub const HOST_CID: u64 = 2;

/// The context id of every guest: it is private to its VMM, so all pods use the same.
pub const GUEST_CID: u64 = 3;

/// The guest port on which vdocker answers Docker API calls.
pub const VDOCKER_PORT: u32 = 1;

/// The host port of the stdio stream, which the guest opens once, early in its boot, when it listens on
/// [`VDOCKER_PORT`]. See [`crate::frame`].
pub const STDIO_PORT: u32 = 2;

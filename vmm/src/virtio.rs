//! Virtio devices over MMIO (virtio 1.3): what a device is, its queues, its transport and its interrupt.
//!
//! A [`VirtioDevice`] lives in an [`crate::event_loop::EventLoop`]; the [`MmioTransport`] that the guest's
//! driver talks to lives on the bus and hands over the queues when the driver is ready.

mod chain;
pub(crate) mod config_space;
mod device;
#[cfg(test)]
pub(crate) mod harness;
mod interrupt;
mod iovec;
mod mmio;
mod queue;

pub use chain::{Buffers, Chain, ChainError, Descriptors, KeptChain};
pub(crate) use chain::{check, walk};
pub use device::{ActivationContext, DeviceError, VirtioDevice};
pub use interrupt::Interrupt;
pub(crate) use interrupt::USED_BUFFER;
pub(crate) use iovec::MAX_SLICES;
pub use mmio::{MmioTransport, TransportError};
pub(crate) use queue::Rings;
pub use queue::{QueueError, Taken, UsedChain, Virtqueue};

/// Bits of the device status field (virtio 1.3, section 2.1).
pub mod status {
    /// The driver has seen the device.
    pub const ACKNOWLEDGE: u32 = 1;
    /// The driver knows how to drive the device.
    pub const DRIVER: u32 = 2;
    /// The driver is ready; the device runs.
    pub const DRIVER_OK: u32 = 4;
    /// Features are negotiated.
    pub const FEATURES_OK: u32 = 8;
    /// The device met an error that only a reset mends.
    pub const DEVICE_NEEDS_RESET: u32 = 64;
    /// The driver gave up.
    pub const FAILED: u32 = 128;
}

/// Feature bits of every device (virtio 1.3, section 6).
pub mod feature {
    /// Descriptors may point to tables of descriptors; a device offers it on its own.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Interrupts and notifications are asked for by ring index. Offered by the transport for all.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// The device follows virtio 1.0 or later. Offered by the transport for all and required of the driver.
    pub const VERSION_1: u64 = 1 << 32;
    /// A device sees what the platform lets it see: not a guest's private memory. Offered by the transport to a guest that has
    /// some, and required of its driver.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
}

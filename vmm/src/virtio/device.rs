//! What a virtio device is to its transport and its event loop: facts for the driver, and handlers.
//!
//! Implemented by `devices::*`. All handlers run on the thread of the device's event loop, so a device needs
//! no lock.

use std::io;

use vm_memory::GuestMemoryError;
use vmm_sys_util::epoll::EventSet;

use super::{Interrupt, QueueError, Virtqueue};
use crate::event_loop::Sources;
use crate::memory::GuestMemory;

/// A virtio device (virtio 1.3, section 2).
pub trait VirtioDevice: Send {
    /// The device id (virtio 1.3, section 5); 0 while nothing is connected to the device.
    fn device_type(&self) -> u32;

    /// The feature bits offered besides those of [`super::feature`] that the transport adds.
    fn features(&self) -> u64;

    /// The device configuration space, which like the id and the features changes with [`Self::measure`] alone; no device
    /// here has a field that the driver may write.
    fn config(&self) -> Vec<u8>;

    /// The greatest size of each virtqueue, in descriptors.
    fn queue_sizes(&self) -> &'static [u16];

    /// Looks again at what is behind the device, and answers the bytes of its disk. May be called at any time. A device
    /// that has another id, features or peer behind it gives its queues up.
    ///
    /// # Errors
    /// It cannot, or this device has none.
    fn measure(&mut self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes the queues: the driver has set `DRIVER_OK`. Each queue's [`Self::kicked`] follows at once.
    ///
    /// # Errors
    /// The device cannot start; the driver sees `DEVICE_NEEDS_RESET`.
    fn activate(&mut self, context: ActivationContext) -> Result<(), DeviceError>;

    /// The driver may have made buffers available in the queue of that index. Only called while active.
    ///
    /// # Errors
    /// The driver broke a ring beyond repair, or the device failed; the driver sees `DEVICE_NEEDS_RESET`.
    fn kicked(&mut self, queue: usize) -> Result<(), DeviceError>;

    /// A descriptor that the device added to its [`Sources`] under `token` is ready. Only called while active;
    /// may be called once more after the descriptor was removed.
    ///
    /// # Errors
    /// As [`Self::kicked`].
    fn ready(&mut self, token: u32, events: EventSet) -> Result<(), DeviceError> {
        let _ = (token, events);
        Ok(())
    }

    /// Gives the queues up and forgets the driver. Called on reset and after an error; no guest memory may be
    /// touched after it.
    fn reset(&mut self);
}

/// Everything a device needs to run, handed over when the driver is ready.
pub struct ActivationContext {
    /// Guest RAM.
    pub memory: GuestMemory,
    /// The virtqueues in order; their rings were checked to be in guest RAM.
    pub queues: Vec<Virtqueue>,
    /// The device's interrupt.
    pub interrupt: Interrupt,
    /// Where to add further descriptors to wait for.
    pub sources: Sources,
    /// The features that the driver accepted.
    pub features: u64,
}

/// Why a device cannot go on until its driver resets it.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The rings are not usable.
    #[error("cannot use virtqueue {index}")]
    Queue {
        /// The queue's index.
        index: usize,
        /// Why.
        #[source]
        source: QueueError,
    },
    /// The driver left a queue out that the device needs.
    #[error("the driver did not set virtqueue {0} up")]
    QueueMissing(usize),
    /// Nothing is connected to the device.
    #[error("nothing is connected to it")]
    Absent,
    /// The interrupt could not be sent.
    #[error("cannot signal the interrupt")]
    Interrupt(#[source] io::Error),
    /// The process that uses the queues.
    #[error("cannot use the process behind the device")]
    Backend(#[source] vhost::Error),
    /// It has gone.
    #[error("the process behind the device has ended")]
    BackendGone,
    /// It breaks its rings.
    #[error("the process behind the device answers what it was not asked")]
    BackendLies,
    /// The memory that it has too.
    #[error("cannot use the memory of the process behind the device")]
    Arena(#[source] GuestMemoryError),
    /// A descriptor could not be waited for.
    #[error("cannot wait for {what}")]
    Wait {
        /// What the descriptor is.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

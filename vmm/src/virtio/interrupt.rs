//! A device's interrupt and its status register (virtio 1.3, sections 2.3 and 4.2.2).
//!
//! Shared by the transport, which answers the driver's reads, and the device, which raises it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use vmm_sys_util::eventfd::EventFd;

/// `InterruptStatus` bit: a used buffer notification.
pub(crate) const USED_BUFFER: u32 = 1;
/// `InterruptStatus` bit: a configuration change notification.
pub(super) const CONFIG_CHANGE: u32 = 2;

/// The interrupt of a device; clones raise the same one.
#[derive(Clone)]
pub struct Interrupt {
    shared: Arc<Shared>,
}

struct Shared {
    /// But for [`USED_BUFFER`], which is always set: at each interrupt there may be used buffers. So it need not be told to
    /// the device that the driver has seen it, which would be an exit of a vCPU to this process, and a process that uses
    /// buffers can raise the line by itself.
    status: AtomicU32,
    needs_reset: AtomicBool,
    line: EventFd,
}

impl Interrupt {
    /// An interrupt that is raised by a write to `line`, an irqfd.
    #[must_use]
    pub fn new(line: EventFd) -> Self {
        let (status, needs_reset) = (AtomicU32::new(0), AtomicBool::new(false));
        Self { shared: Arc::new(Shared { status, needs_reset, line }) }
    }

    /// Tells the driver that it has used buffers.
    ///
    /// # Errors
    /// The write to the irqfd failed.
    pub fn used_buffer(&self) -> io::Result<()> {
        self.shared.line.write(1)
    }

    /// Tells the driver that the configuration space has changed (virtio 1.3, section 2.3).
    ///
    /// # Errors
    /// The write to the irqfd failed.
    pub fn config_changed(&self) -> io::Result<()> {
        self.raise(CONFIG_CHANGE)
    }

    /// Tells the driver that the device cannot go on without a reset (virtio 1.3, section 2.1.2).
    ///
    /// # Errors
    /// The write to the irqfd failed.
    pub fn device_needs_reset(&self) -> io::Result<()> {
        self.shared.needs_reset.store(true, Ordering::Release);
        self.raise(CONFIG_CHANGE)
    }

    /// Whether the device asked for a reset since the last one.
    #[must_use]
    pub fn needs_reset(&self) -> bool {
        self.shared.needs_reset.load(Ordering::Acquire)
    }

    /// The interrupt status register.
    #[must_use]
    pub fn status(&self) -> u32 {
        self.shared.status.load(Ordering::Acquire) | USED_BUFFER
    }

    /// Clears the bits that the driver has handled.
    pub fn acknowledge(&self, bits: u32) {
        self.shared.status.fetch_and(!bits, Ordering::AcqRel);
    }

    /// Forgets everything, as at power-on.
    pub fn reset(&self) {
        self.shared.needs_reset.store(false, Ordering::Release);
        self.shared.status.store(0, Ordering::Release);
    }

    fn raise(&self, bits: u32) -> io::Result<()> {
        self.shared.status.fetch_or(bits, Ordering::AcqRel);
        self.shared.line.write(1)
    }
}

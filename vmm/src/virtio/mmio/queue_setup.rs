//! A virtqueue while its driver describes it, register by register (virtio 1.3, section 4.2.3.2).
//!
//! Written by the transport, which takes the [`Queue`] when the driver is ready.

use virtio_queue::{Queue, QueueT};
use vm_memory::GuestAddress;

use super::register::{
    QUEUE_DESC_HIGH, QUEUE_DESC_LOW, QUEUE_DEVICE_HIGH, QUEUE_DEVICE_LOW, QUEUE_DRIVER_HIGH,
    QUEUE_DRIVER_LOW, QUEUE_READY, QUEUE_SIZE,
};
use crate::memory::GuestMemory;

/// A virtqueue as the driver describes it.
pub(super) struct QueueSetup {
    pub(super) max_size: u16,
    size: u32,
    descriptors: u64,
    driver: u64,
    device: u64,
    /// Set by `QueueReady`, where everything above was found good.
    pub(super) ready: bool,
}

impl QueueSetup {
    /// A queue of at most `max_size` descriptors that nothing is known of.
    pub(super) fn new(max_size: u16) -> Self {
        Self { max_size, size: u32::from(max_size), descriptors: 0, driver: 0, device: 0, ready: false }
    }

    pub(super) fn write_register(&mut self, offset: u64, value: u32, memory: &GuestMemory) {
        match offset {
            QUEUE_READY => self.ready = value == 1 && self.queue(memory).is_some(),
            _ if self.ready => {}
            QUEUE_SIZE => self.size = value,
            QUEUE_DESC_LOW => set_low(&mut self.descriptors, value),
            QUEUE_DESC_HIGH => set_high(&mut self.descriptors, value),
            QUEUE_DRIVER_LOW => set_low(&mut self.driver, value),
            QUEUE_DRIVER_HIGH => set_high(&mut self.driver, value),
            QUEUE_DEVICE_LOW => set_low(&mut self.device, value),
            QUEUE_DEVICE_HIGH => set_high(&mut self.device, value),
            _ => {}
        }
    }

    /// The queue, where its size is a power of two within the limit and its rings are aligned and in RAM.
    pub(super) fn queue(&self, memory: &GuestMemory) -> Option<Queue> {
        let mut queue = Queue::new(self.max_size).ok()?;
        queue.try_set_size(u16::try_from(self.size).ok()?).ok()?;
        queue.try_set_desc_table_address(GuestAddress(self.descriptors)).ok()?;
        queue.try_set_avail_ring_address(GuestAddress(self.driver)).ok()?;
        queue.try_set_used_ring_address(GuestAddress(self.device)).ok()?;
        queue.set_ready(true);
        queue.is_valid(memory).then_some(queue)
    }
}

fn set_low(target: &mut u64, value: u32) {
    *target = *target & !0xffff_ffff | u64::from(value);
}

fn set_high(target: &mut u64, value: u32) {
    *target = *target & 0xffff_ffff | u64::from(value) << 32;
}

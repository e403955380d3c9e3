//! The block device (virtio 1.3, section 5.2): one queue of requests, done in order in the thread of its own
//! event loop, straight between guest memory and the disk's files.

mod bucket;
mod disk;
mod held;
mod request;
mod throttle;

pub use disk::{DiskConfig, DiskError, Extent};
pub use throttle::Throttle;

use std::io;

use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::timerfd::TimerFd;

use held::Held;
use request::{MAX_DISCARD_SECTORS, MAX_DISCARD_SEGMENTS, MAX_SEGMENT, MAX_SEGMENTS, MAX_ZERO_SECTORS};

use crate::memory::GuestMemory;
use crate::virtio::{ActivationContext, DeviceError, VirtioDevice, Virtqueue, feature};

/// Bytes in a sector, the unit of all addresses of the protocol.
const SECTOR: u64 = 512;

/// The most requests in a turn of the event loop: a queue full of long ones delays a reset or the machine's end by no
/// more than these.
const TURN: u16 = 16;

/// The event token of the timer.
const TIMER: u32 = 0;

/// Bits of `features` (virtio 1.3, section 5.2.3).
mod block_feature {
    pub(super) const SIZE_MAX: u64 = 1 << 1;
    pub(super) const SEG_MAX: u64 = 1 << 2;
    pub(super) const RO: u64 = 1 << 5;
    pub(super) const FLUSH: u64 = 1 << 9;
    pub(super) const DISCARD: u64 = 1 << 13;
    pub(super) const WRITE_ZEROES: u64 = 1 << 14;
}

/// A disk.
pub struct Block {
    disk: DiskConfig,
    /// Wakes requests that the disk's limits hold back.
    timer: TimerFd,
    active: Option<Active>,
}

struct Active {
    memory: GuestMemory,
    queue: Virtqueue,
    /// The driver knows no flushes: what it has written is durable when it is told so (virtio 1.3, section 5.2.6.2).
    write_through: bool,
    held: Held,
}

impl Block {
    /// A device that shows `disk` to the guest.
    ///
    /// # Errors
    /// The kernel refuses a timer.
    pub fn new(disk: DiskConfig) -> io::Result<Self> {
        Ok(Self { disk, timer: TimerFd::new()?, active: None })
    }

    /// Does what the disk's limits allow by now, and sets the timer for the rest.
    fn serve(&mut self) -> Result<(), DeviceError> {
        let Some(Active { memory, queue, write_through, held }) = &mut self.active else { return Ok(()) };
        let wait = held.serve(&self.disk, memory, queue, *write_through)?;
        let set = wait.map_or(Ok(()), |wait| self.timer.reset(wait, None));
        set.map_err(|error| DeviceError::Wait { what: "a disk's timer", source: error.into() })
    }

    /// Without a read, which would wait where the timer has been set again since it expired.
    fn stop_timer(&mut self) -> Result<(), DeviceError> {
        self.timer.clear().map_err(|error| DeviceError::Wait { what: "a disk's timer", source: error.into() })
    }
}

impl VirtioDevice for Block {
    fn device_type(&self) -> u32 {
        2
    }

    fn features(&self) -> u64 {
        use block_feature::{DISCARD, FLUSH, RO, SEG_MAX, SIZE_MAX, WRITE_ZEROES};
        let kind = if self.disk.is_read_only() { RO } else { DISCARD | WRITE_ZEROES };
        SIZE_MAX | SEG_MAX | FLUSH | feature::INDIRECT_DESC | kind
    }

    /// `struct virtio_blk_config` (virtio 1.3, section 5.2.4).
    fn config(&self) -> Vec<u8> {
        let mut config = vec![0; 60];
        let mut put =
            |offset: usize, bytes: &[u8]| config[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0, &(self.disk.len() / SECTOR).to_le_bytes());
        put(8, &MAX_SEGMENT.to_le_bytes());
        put(12, &MAX_SEGMENTS.to_le_bytes());
        put(20, &512u32.to_le_bytes());
        put(34, &1u16.to_le_bytes());
        put(36, &MAX_DISCARD_SECTORS.to_le_bytes());
        put(40, &MAX_DISCARD_SEGMENTS.to_le_bytes());
        put(44, &8u32.to_le_bytes());
        put(48, &MAX_ZERO_SECTORS.to_le_bytes());
        put(52, &1u32.to_le_bytes());
        put(56, &[1]);
        config
    }

    fn measure(&mut self) -> io::Result<u64> {
        self.disk.grow()
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[256]
    }

    fn activate(&mut self, context: ActivationContext) -> Result<(), DeviceError> {
        let queue = context.queues.into_iter().next().ok_or(DeviceError::QueueMissing(0))?;
        let write_through = context.features & block_feature::FLUSH == 0;
        // A reset leaves it where it is.
        context.sources.remove(&self.timer);
        let added = context.sources.add(&self.timer, EventSet::IN, TIMER);
        added.map_err(|source| DeviceError::Wait { what: "a disk's timer", source })?;
        self.active = Some(Active { memory: context.memory, queue, write_through, held: Held::default() });
        Ok(())
    }

    fn kicked(&mut self, _queue: usize) -> Result<(), DeviceError> {
        self.serve()
    }

    fn ready(&mut self, _token: u32, _events: EventSet) -> Result<(), DeviceError> {
        self.stop_timer()?;
        self.serve()
    }

    fn reset(&mut self) {
        self.active = None;
        // Nobody would hear it, again and again.
        if let Err(error) = self.stop_timer() {
            log::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests;

//! A virtqueue as a device uses it: chains out of the available ring, heads into the used ring, notifications.
//!
//! Made by the transport, used by the devices. Rings are `virtio-queue`'s (virtio 1.3, section 2.7); this adds
//! that a broken ring is an error rather than an empty queue.

use std::io;
use std::num::Wrapping;
use std::sync::atomic::{Ordering, fence};

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend as _, GuestMemoryError, VolatileMemory as _};
use vmm_sys_util::eventfd::EventFd;

use super::{Descriptors, DeviceError, Interrupt};
use crate::memory::GuestMemory;

/// Why a virtqueue cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Memory cannot be read.
    #[error("cannot read the available ring")]
    ReadAvailable(#[source] GuestMemoryError),
    /// The available ring's index is ahead by more than the queue holds.
    #[error("{0} chains are available at once")]
    Available(u16),
    /// Memory cannot be written.
    #[error("cannot write the used ring")]
    WriteUsed(#[source] GuestMemoryError),
    /// A chain's head that is no descriptor of the queue.
    #[error("descriptor {0} is not in the queue")]
    NoSuchHead(u16),
    /// Event suppression fields cannot be reached.
    #[error("cannot access the notification fields of the rings")]
    Notification(#[source] virtio_queue::Error),
    /// The driver's wish for interrupts cannot be read.
    #[error("cannot read the used event of the driver")]
    UsedEvent(#[source] GuestMemoryError),
}

/// A chain that goes into the used ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedChain {
    /// Its first descriptor.
    pub head: u16,
    /// Bytes written into it from its first writable byte.
    pub written: u32,
}

/// What became of a chain that was popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes were written into it: it goes into the used ring.
    Done(u32),
    /// It goes there later.
    Kept,
    /// It cannot be handled yet: it is given back, and the driver's kicks stay off.
    Back,
}

/// Where a virtqueue is: addresses in its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rings {
    pub(crate) descriptors: u64,
    pub(crate) available: u64,
    pub(crate) used: u64,
}

/// A virtqueue in use by a device.
pub struct Virtqueue {
    index: usize,
    queue: Queue,
    interrupt: Interrupt,
    kick: EventFd,
    /// The available ring's index as it was last read.
    available: Wrapping<u16>,
    /// The used ring's index when the driver's wish for an interrupt was last looked at.
    told: Wrapping<u16>,
}

impl Virtqueue {
    pub(super) fn new(index: usize, queue: Queue, interrupt: Interrupt, kick: EventFd) -> Self {
        let available = Wrapping(queue.next_avail());
        Self { index, queue, interrupt, kick, available, told: Wrapping(0) }
    }

    /// Descriptors in the queue: also the longest chain.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    /// The next available chain, if there is one.
    ///
    /// # Errors
    /// [`QueueError::ReadAvailable`], [`QueueError::Available`].
    pub fn pop<'m>(&mut self, memory: &'m GuestMemory) -> Result<Option<Descriptors<'m>>, DeviceError> {
        let (next, ring) = (Wrapping(self.queue.next_avail()), self.queue.avail_ring());
        let load = |offset: u64, ordering| memory.load::<u16>(GuestAddress(ring + offset), ordering);
        let failed = |source| DeviceError::Queue { index: self.index, source };
        if self.available == next {
            let available =
                load(2, Ordering::Acquire).map_err(|source| failed(QueueError::ReadAvailable(source)))?;
            self.available = Wrapping(u16::from_le(available));
            let ahead = self.available - next;
            if ahead.0 > self.size() {
                return Err(failed(QueueError::Available(ahead.0)));
            }
            if ahead.0 == 0 {
                return Ok(None);
            }
        }
        let entry = 4 + 2 * u64::from(next.0 % self.size());
        let head =
            load(entry, Ordering::Relaxed).map_err(|source| failed(QueueError::ReadAvailable(source)))?;
        self.queue.set_next_avail((next + Wrapping(1)).0);
        let table = GuestAddress(self.queue.desc_table());
        Ok(Some(Descriptors::new(memory, table, self.size(), u16::from_le(head))))
    }

    /// Gives the last popped chain back, to be popped again.
    pub fn unpop(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Puts a chain into the used ring, with `written` bytes written into it from its first writable byte.
    ///
    /// # Errors
    /// [`QueueError::WriteUsed`], [`QueueError::NoSuchHead`].
    pub fn push_used(&mut self, memory: &GuestMemory, head: u16, written: u32) -> Result<(), DeviceError> {
        self.push_all_used(memory, &[UsedChain { head, written }])
    }

    /// Puts chains into the used ring so that the driver sees all of them or none.
    ///
    /// # Errors
    /// As [`Self::push_used`]; the driver sees none then.
    pub fn push_all_used(&mut self, memory: &GuestMemory, chains: &[UsedChain]) -> Result<(), DeviceError> {
        let mut next = Wrapping(self.queue.next_used());
        let size = usize::from(self.size());
        let ring = memory
            .get_slice(GuestAddress(self.queue.used_ring()), 4 + 8 * size)
            .map_err(|source| self.fail(QueueError::WriteUsed(source)))?;
        for chain in chains {
            if chain.head >= self.size() {
                return Err(self.fail(QueueError::NoSuchHead(chain.head)));
            }
            let element = u64::from(chain.head) | u64::from(chain.written) << 32;
            let entry = ring.get_ref::<u64>(4 + 8 * (usize::from(next.0) % size));
            entry.map_err(|source| self.fail(QueueError::WriteUsed(source.into())))?.store(element.to_le());
            next += 1;
        }
        ring.store(next.0.to_le(), 2, Ordering::Release)
            .map_err(|source| self.fail(QueueError::WriteUsed(source.into())))?;
        self.queue.set_next_used(next.0);
        Ok(())
    }

    /// Interrupts the driver if something was put into the used ring since the last call, and it wants to hear of it.
    ///
    /// # Errors
    /// [`QueueError::UsedEvent`] or [`DeviceError::Interrupt`].
    pub fn notify(&mut self, memory: &GuestMemory) -> Result<(), DeviceError> {
        let wanted = self.wants_interrupt(memory).map_err(|source| self.fail(source))?;
        if wanted {
            self.interrupt.used_buffer().map_err(DeviceError::Interrupt)?;
        }
        Ok(())
    }

    /// Whether the index that the driver named lies among those used since the last call (virtio 1.3, section 2.7.10).
    fn wants_interrupt(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        let next = Wrapping(self.queue.next_used());
        let told = std::mem::replace(&mut self.told, next);
        if next == told || !self.queue.event_idx_enabled() {
            return Ok(next != told);
        }
        // The used ring is written before the driver's wish is read; the driver does it the other way round.
        fence(Ordering::SeqCst);
        let event = GuestAddress(self.queue.avail_ring() + 4 + 2 * u64::from(self.size()));
        let event = memory.load::<u16>(event, Ordering::Relaxed).map_err(QueueError::UsedEvent)?;
        Ok(next - Wrapping(u16::from_le(event)) - Wrapping(1) < next - told)
    }

    /// Asks the driver for a kick at the next buffer it makes available. True when one is available already:
    /// its kick may be missing.
    ///
    /// # Errors
    /// [`QueueError::Notification`].
    pub fn enable_kicks(&mut self, memory: &GuestMemory) -> Result<bool, DeviceError> {
        self.queue.enable_notification(memory).map_err(|source| self.fail(QueueError::Notification(source)))
    }

    /// Tells the driver that kicks are not needed.
    ///
    /// # Errors
    /// [`QueueError::Notification`].
    pub fn disable_kicks(&mut self, memory: &GuestMemory) -> Result<(), DeviceError> {
        self.queue.disable_notification(memory).map_err(|source| self.fail(QueueError::Notification(source)))
    }

    /// Calls the device's handler of this queue again after other sources had their turn.
    ///
    /// # Errors
    /// The write to the queue's notification event failed.
    pub fn kick_again(&self) -> Result<(), DeviceError> {
        self.kick.write(1).map_err(|source: io::Error| DeviceError::Wait { what: "another turn", source })
    }

    /// Handles the chains that are available, at most as many as the queue holds, so that a driver which never
    /// pauses does not keep the event loop from its other devices. `handle` answers how many bytes it wrote
    /// into a chain, or `None` when it cannot handle the chain yet: it is given back and the driver's kicks
    /// stay off. The driver is interrupted once, behind the last.
    ///
    /// # Errors
    /// What [`Self::pop`], [`Self::push_used`] and [`Self::notify`] return.
    pub fn drain<'m>(
        &mut self,
        memory: &'m GuestMemory,
        handle: impl FnMut(Descriptors<'m>) -> Option<u32>,
    ) -> Result<(), DeviceError> {
        self.drain_some(self.size(), memory, handle)
    }

    /// As [`Self::drain`], but at most `most` chains before other sources have their turn.
    ///
    /// # Errors
    /// As [`Self::drain`].
    pub fn drain_some<'m>(
        &mut self,
        most: u16,
        memory: &'m GuestMemory,
        mut handle: impl FnMut(Descriptors<'m>) -> Option<u32>,
    ) -> Result<(), DeviceError> {
        self.turn(most, memory, false, |chain| handle(chain).map_or(Taken::Back, Taken::Done))?;
        self.notify(memory)
    }

    /// As [`Self::drain_some`], for a device that takes its time for each chain: the driver hears of each at once. It may keep
    /// chains, to put them into the used ring later.
    ///
    /// # Errors
    /// As [`Self::drain`].
    pub fn take_some<'m>(
        &mut self,
        most: u16,
        memory: &'m GuestMemory,
        handle: impl FnMut(Descriptors<'m>) -> Taken,
    ) -> Result<(), DeviceError> {
        self.turn(most, memory, true, handle)
    }

    fn turn<'m>(
        &mut self,
        most: u16,
        memory: &'m GuestMemory,
        at_once: bool,
        mut handle: impl FnMut(Descriptors<'m>) -> Taken,
    ) -> Result<(), DeviceError> {
        self.disable_kicks(memory)?;
        for _ in 0..most {
            let Some(chain) = self.pop(memory)? else {
                if self.enable_kicks(memory)? {
                    self.disable_kicks(memory)?;
                    continue;
                }
                return Ok(());
            };
            let head = chain.head_index();
            match handle(chain) {
                Taken::Done(written) => {
                    self.push_used(memory, head, written)?;
                    if at_once {
                        self.notify(memory)?;
                    }
                }
                Taken::Kept => {}
                Taken::Back => {
                    self.unpop();
                    return Ok(());
                }
            }
        }
        self.kick_again()
    }

    fn fail(&self, source: QueueError) -> DeviceError {
        DeviceError::Queue { index: self.index, source }
    }
}

//! A virtqueue as a device uses it: chains out of the available ring, heads into the used ring, notifications.
//!
//! Made by the transport, used by the devices. Rings are `virtio-queue`'s (virtio 1.3, section 2.7); this adds
//! that a broken ring is an error rather than an empty queue.

use std::io;

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vmm_sys_util::eventfd::EventFd;

use super::{DeviceError, Interrupt};
use crate::memory::GuestMemory;

/// Why a virtqueue cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The available ring's index is ahead by more than the queue holds, or memory cannot be read.
    #[error("cannot read the available ring")]
    ReadAvailable(#[source] virtio_queue::Error),
    /// The head is no descriptor of the queue, or memory cannot be written.
    #[error("cannot write the used ring")]
    WriteUsed(#[source] virtio_queue::Error),
    /// Event suppression fields cannot be reached.
    #[error("cannot access the notification fields of the rings")]
    Notification(#[source] virtio_queue::Error),
}

/// A virtqueue in use by a device.
pub struct Virtqueue {
    index: usize,
    queue: Queue,
    interrupt: Interrupt,
    kick: EventFd,
}

impl Virtqueue {
    pub(super) fn new(index: usize, queue: Queue, interrupt: Interrupt, kick: EventFd) -> Self {
        Self { index, queue, interrupt, kick }
    }

    /// Descriptors in the queue: also the longest chain.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    /// The next available chain, if there is one.
    ///
    /// # Errors
    /// [`QueueError::ReadAvailable`].
    pub fn pop<'m>(
        &mut self,
        memory: &'m GuestMemory,
    ) -> Result<Option<DescriptorChain<&'m GuestMemory>>, DeviceError> {
        match self.queue.iter(memory) {
            Ok(mut available) => Ok(available.next()),
            Err(source) => {
                Err(DeviceError::Queue { index: self.index, source: QueueError::ReadAvailable(source) })
            }
        }
    }

    /// Gives the last popped chain back, to be popped again.
    pub fn unpop(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Puts a chain into the used ring, with `written` bytes written into it from its first writable byte.
    ///
    /// # Errors
    /// [`QueueError::WriteUsed`].
    pub fn push_used(&mut self, memory: &GuestMemory, head: u16, written: u32) -> Result<(), DeviceError> {
        self.queue.add_used(memory, head, written).map_err(|source| self.fail(QueueError::WriteUsed(source)))
    }

    /// Interrupts the driver if it wants to hear of what was put into the used ring since the last call.
    ///
    /// # Errors
    /// [`QueueError::Notification`] or [`DeviceError::Interrupt`].
    pub fn notify(&mut self, memory: &GuestMemory) -> Result<(), DeviceError> {
        let wanted = self
            .queue
            .needs_notification(memory)
            .map_err(|source| self.fail(QueueError::Notification(source)))?;
        if wanted {
            self.interrupt.used_buffer().map_err(DeviceError::Interrupt)?;
        }
        Ok(())
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
    /// stay off.
    ///
    /// # Errors
    /// What [`Self::pop`], [`Self::push_used`] and [`Self::notify`] return.
    pub fn drain<'m>(
        &mut self,
        memory: &'m GuestMemory,
        handle: impl FnMut(DescriptorChain<&'m GuestMemory>) -> Option<u32>,
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
        mut handle: impl FnMut(DescriptorChain<&'m GuestMemory>) -> Option<u32>,
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
            let Some(written) = handle(chain) else {
                self.unpop();
                return Ok(());
            };
            self.push_used(memory, head, written)?;
            self.notify(memory)?;
        }
        self.kick_again()
    }

    fn fail(&self, source: QueueError) -> DeviceError {
        DeviceError::Queue { index: self.index, source }
    }
}

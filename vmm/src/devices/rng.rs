//! The entropy device (virtio 1.3, section 5.4): one queue of buffers to fill with random bytes.

use crate::memory::GuestMemory;
use crate::virtio::{ActivationContext, Chain, DeviceError, VirtioDevice, Virtqueue};

/// The most bytes that one chain gets, so that no chain holds the event loop up.
const MAX_BYTES: usize = 4096;

/// A source of random bytes.
#[derive(Default)]
pub struct Rng {
    active: Option<(GuestMemory, Virtqueue)>,
}

impl Rng {
    /// A source that gives what the host's kernel gives.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl VirtioDevice for Rng {
    fn device_type(&self) -> u32 {
        4
    }

    fn features(&self) -> u64 {
        0
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[16]
    }

    fn activate(&mut self, context: ActivationContext) -> Result<(), DeviceError> {
        let queue = context.queues.into_iter().next().ok_or(DeviceError::QueueMissing(0))?;
        self.active = Some((context.memory, queue));
        Ok(())
    }

    fn kicked(&mut self, _queue: usize) -> Result<(), DeviceError> {
        let Some((memory, queue)) = &mut self.active else { return Ok(()) };
        let max_len = queue.size();
        queue.drain(memory, |descriptors| {
            Some(Chain::parse(memory, descriptors, max_len).map_or(0, |chain| fill(chain)))
        })
    }

    fn reset(&mut self) {
        self.active = None;
    }
}

/// Fills what the driver may read of the chain; answers how many bytes.
fn fill(mut chain: Chain<'_>) -> u32 {
    let mut bytes = [0; MAX_BYTES];
    let wanted = MAX_BYTES.min(chain.writable.len());
    match rustix::rand::getrandom(&mut bytes[..wanted], rustix::rand::GetRandomFlags::empty()) {
        Ok(count) => u32::try_from(chain.writable.write(&bytes[..count])).unwrap_or(0),
        Err(error) => {
            log::warn!("cannot get random bytes: {error}");
            0
        }
    }
}

#[cfg(test)]
mod tests;

//! The file system device (virtio 1.3, section 5.11): a queue of high priority and one of requests, without DAX.
//!
//! This process understands no request. It copies them to memory that it has in common with a backend, virtiofsd say, over
//! vhost-user, and copies the answers back: the backend sees nothing else of the machine, whose memory stays private to this
//! process, in huge pages and pages of the host's page cache.

mod arena;
mod backend;
mod relay;

pub use backend::BackendError;

use std::os::unix::net::UnixStream;

use vmm_sys_util::epoll::EventSet;

use crate::event_loop::Sources;
use crate::memory::GuestMemory;
use crate::virtio::{ActivationContext, DeviceError, VirtioDevice, feature};

use arena::Arena;
use backend::{Backend, Doors};
use relay::Relay;

/// Bytes of a tag at most (virtio 1.3, section 5.11.4).
pub const MAX_TAG: usize = 36;

/// Descriptors of the queues. The second bounds a request: as many pages, less four, are read or written at once.
const QUEUES: [u16; 2] = [128, 1024];

/// Event tokens: the backend's end; from this on, the answers of each queue.
const HANG_UP: u32 = 0;
const ANSWERS: u32 = 1;

/// A share of the host's files.
pub struct FsConfig {
    /// What the guest mounts it by: 1 to [`MAX_TAG`] bytes, none of them NUL.
    pub tag: String,
    /// Connected to a vhost-user backend of a file system device.
    pub backend: UnixStream,
}

/// A file system that another process serves.
pub struct Fs {
    tag: [u8; MAX_TAG],
    backend: Backend,
    arena: Arena,
    doors: [Doors; QUEUES.len()],
    active: Option<Active>,
}

struct Active {
    memory: GuestMemory,
    sources: Sources,
    relays: Vec<Relay>,
}

impl Fs {
    /// Makes acquaintance with the backend, which gets the memory for requests and answers.
    ///
    /// # Errors
    /// The tag is none, the backend does not answer as one of a file system, or cannot have the memory.
    pub fn connect(config: FsConfig) -> Result<Self, BackendError> {
        let bytes = config.tag.as_bytes();
        if !(1..=MAX_TAG).contains(&bytes.len()) || bytes.contains(&0) {
            return Err(BackendError::Tag { tag: config.tag });
        }
        let mut tag = [0; MAX_TAG];
        tag[..bytes.len()].copy_from_slice(bytes);
        let arena = Arena::new().map_err(BackendError::Arena)?;
        let backend = Backend::connect(config.backend, arena.memory(), QUEUES.len())?;
        let doors = [Doors::new()?, Doors::new()?];
        Ok(Self { tag, backend, arena, doors, active: None })
    }

    /// Passes the requests of a queue on.
    fn ask(&mut self, queue: usize) -> Result<(), DeviceError> {
        let Some(Active { memory, relays, .. }) = &mut self.active else { return Ok(()) };
        match (relays.get_mut(queue), self.doors.get(queue)) {
            (Some(relay), Some(doors)) => relay.ask(memory, &mut self.arena, &doors.kick),
            _ => Ok(()),
        }
    }

    /// Hands over the answers of a queue, and passes on what waited for their memory.
    fn answer(&mut self, queue: usize) -> Result<(), DeviceError> {
        let Some(Active { memory, relays, .. }) = &mut self.active else { return Ok(()) };
        if let Some(relay) = relays.get_mut(queue) {
            relay.answer(memory, &mut self.arena)?;
        }
        for (relay, doors) in relays.iter_mut().zip(&self.doors).filter(|(relay, _)| relay.waits) {
            relay.ask(memory, &mut self.arena, &doors.kick)?;
        }
        Ok(())
    }
}

impl VirtioDevice for Fs {
    fn device_type(&self) -> u32 {
        26
    }

    fn features(&self) -> u64 {
        feature::INDIRECT_DESC
    }

    /// `struct virtio_fs_config` (virtio 1.3, section 5.11.4): the tag and the number of request queues.
    fn config(&self) -> Vec<u8> {
        [self.tag.as_slice(), &1u32.to_le_bytes()].concat()
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &QUEUES
    }

    fn activate(&mut self, context: ActivationContext) -> Result<(), DeviceError> {
        let ActivationContext { memory, queues, sources, .. } = context;
        if queues.len() != QUEUES.len() {
            return Err(DeviceError::QueueMissing(queues.len()));
        }
        let what = "the share's process";
        let wait = |source| DeviceError::Wait { what, source };
        sources.add(&self.backend, EventSet::READ_HANG_UP, HANG_UP).map_err(wait)?;
        for (token, doors) in (ANSWERS..).zip(&self.doors) {
            // Each write is told once, so that its count need not be read.
            sources.add(&doors.call, EventSet::IN | EventSet::EDGE_TRIGGERED, token).map_err(wait)?;
        }
        self.arena.free_all();
        let mut relays = Vec::new();
        for (index, queue) in (0..).zip(queues) {
            relays.push(Relay::new(queue, self.arena.empty_rings(index).map_err(DeviceError::Arena)?));
        }
        let rings: Vec<_> = relays.iter().map(Relay::rings).collect();
        self.active = Some(Active { memory, sources, relays });
        self.backend.start(self.arena.memory(), &rings, &self.doors)
    }

    fn kicked(&mut self, queue: usize) -> Result<(), DeviceError> {
        self.ask(queue)
    }

    fn ready(&mut self, token: u32, _events: EventSet) -> Result<(), DeviceError> {
        match token {
            // It speaks only when it is asked, so it has gone.
            HANG_UP => Err(DeviceError::BackendGone),
            _ => self.answer((token - ANSWERS) as usize),
        }
    }

    fn reset(&mut self) {
        if let Some(Active { sources, .. }) = self.active.take() {
            sources.remove(&self.backend);
            for doors in &self.doors {
                sources.remove(&doors.call);
            }
            self.backend.stop();
        }
    }
}

#[cfg(test)]
mod tests;

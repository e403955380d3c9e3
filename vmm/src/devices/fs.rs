//! The file system device (virtio 1.3, section 5.11): a queue of high priority and one of requests, without DAX.
//!
//! This process reads no request: a backend outside of it, virtiofsd say, takes the queues over vhost-user, hears the
//! guest's notifications and raises its interrupts. Here are the registers, and what is told the backend.

mod backend;

pub use backend::BackendError;

use std::io;
use std::os::unix::net::UnixStream;

use vmm_sys_util::epoll::EventSet;

use crate::event_loop::Sources;
use crate::memory::GuestMemory;
use crate::virtio::{ActivationContext, DeviceError, VirtioDevice, feature};

use backend::Backend;

/// Bytes of a tag at most (virtio 1.3, section 5.11.4).
pub const MAX_TAG: usize = 36;

/// Descriptors of the queues. The second bounds a request: as many pages, less four, are read or written at once.
const QUEUES: [u16; 2] = [128, 1024];

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
    /// Where the backend's end is waited for, while the device runs.
    sources: Option<Sources>,
}

impl Fs {
    /// Makes acquaintance with the backend, which gets `memory`; it must be shared ([`crate::memory::allocate_shared`]).
    ///
    /// # Errors
    /// The tag is none, the backend does not answer as one of a file system, or cannot have the memory.
    pub fn connect(config: FsConfig, memory: &GuestMemory) -> Result<Self, BackendError> {
        let bytes = config.tag.as_bytes();
        if !(1..=MAX_TAG).contains(&bytes.len()) || bytes.contains(&0) {
            return Err(BackendError::Tag { tag: config.tag });
        }
        let mut tag = [0; MAX_TAG];
        tag[..bytes.len()].copy_from_slice(bytes);
        Ok(Self { tag, backend: Backend::connect(config.backend, memory, QUEUES.len())?, sources: None })
    }
}

impl VirtioDevice for Fs {
    fn device_type(&self) -> u32 {
        26
    }

    fn features(&self) -> u64 {
        self.backend.features() & feature::INDIRECT_DESC
    }

    /// `struct virtio_fs_config` (virtio 1.3, section 5.11.4): the tag and the number of request queues.
    fn config(&self) -> Vec<u8> {
        [self.tag.as_slice(), &1u32.to_le_bytes()].concat()
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &QUEUES
    }

    fn is_served_elsewhere(&self) -> bool {
        true
    }

    fn activate(&mut self, context: ActivationContext) -> Result<(), DeviceError> {
        let ActivationContext { memory, queues, interrupt, sources, features } = context;
        if queues.len() != self.queue_sizes().len() {
            return Err(DeviceError::QueueMissing(queues.len()));
        }
        let wait = |source: io::Error| DeviceError::Wait { what: "the end of the share's process", source };
        sources.add(&self.backend, EventSet::READ_HANG_UP, 0).map_err(wait)?;
        self.sources = Some(sources);
        self.backend.start(&memory, &queues, &interrupt, features)
    }

    fn kicked(&mut self, _queue: usize) -> Result<(), DeviceError> {
        Ok(())
    }

    /// The backend speaks only when it is asked, so it has gone.
    fn ready(&mut self, _token: u32, _events: EventSet) -> Result<(), DeviceError> {
        Err(DeviceError::BackendGone)
    }

    fn reset(&mut self) {
        if let Some(sources) = self.sources.take() {
            sources.remove(&self.backend);
            self.backend.stop();
        }
    }
}

#[cfg(test)]
mod tests;

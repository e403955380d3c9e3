//! A device's configuration space as its driver reads it (virtio 1.3, sections 2.5 and 4.2.2.2): written by the device's event
//! loop, read by vCPU threads.

use std::sync::{Arc, Mutex, PoisonError};

/// The configuration space of a device; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigSpace(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// Changes with the bytes: a driver that reads several fields reads them again where it did.
    generation: u32,
}

impl ConfigSpace {
    /// Of these bytes.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Content { bytes, generation: 0 })))
    }

    /// Puts other bytes there; answers whether they are others.
    pub(crate) fn replace(&self, bytes: Vec<u8>) -> bool {
        let mut content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if content.bytes == bytes {
            return false;
        }
        content.bytes = bytes;
        content.generation = content.generation.wrapping_add(1);
        true
    }

    /// Fills `data` from byte `start`; what lies beyond the end is left alone.
    pub(crate) fn read(&self, start: u64, data: &mut [u8]) {
        let content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = usize::try_from(start).ok().and_then(|start| content.bytes.get(start..));
        for (to, from) in data.iter_mut().zip(from.unwrap_or_default()) {
            *to = *from;
        }
    }

    /// The value of `ConfigGeneration`.
    pub(crate) fn generation(&self) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).generation
    }
}

//! What a driver reads of a device: its id, its features and its configuration space (virtio 1.3, sections 2.5 and 4.2.2).
//! Written by the device's event loop, read by vCPU threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::VirtioDevice;

/// The face of a device; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct ConfigSpace(Arc<Mutex<Content>>);

#[derive(Debug, PartialEq, Eq)]
struct Content {
    device_type: u32,
    features: u64,
    bytes: Vec<u8>,
    /// Changes with the rest: a driver that reads several fields reads them again where it did.
    generation: u32,
}

impl Content {
    fn of(device: &dyn VirtioDevice, generation: u32) -> Self {
        Self {
            device_type: device.device_type(),
            features: device.features(),
            bytes: device.config(),
            generation,
        }
    }
}

impl ConfigSpace {
    /// That of a device.
    pub(crate) fn of(device: &dyn VirtioDevice) -> Self {
        Self(Arc::new(Mutex::new(Content::of(device, 0))))
    }

    /// Takes what the device has now; answers whether it is something else.
    pub(crate) fn refresh(&self, device: &dyn VirtioDevice) -> bool {
        let mut content = self.lock();
        let now = Content::of(device, content.generation);
        if *content == now {
            return false;
        }
        *content = Content { generation: now.generation.wrapping_add(1), ..now };
        true
    }

    /// Fills `data` from byte `start`; what lies beyond the end is left alone.
    pub(crate) fn read(&self, start: u64, data: &mut [u8]) {
        let content = self.lock();
        let from = usize::try_from(start).ok().and_then(|start| content.bytes.get(start..));
        for (to, from) in data.iter_mut().zip(from.unwrap_or_default()) {
            *to = *from;
        }
    }

    /// The value of `DeviceID`: 0 where there is no device (section 4.2.2).
    pub(crate) fn device_type(&self) -> u32 {
        self.lock().device_type
    }

    /// What the device itself offers.
    pub(crate) fn features(&self) -> u64 {
        self.lock().features
    }

    /// The value of `ConfigGeneration`.
    pub(crate) fn generation(&self) -> u32 {
        self.lock().generation
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

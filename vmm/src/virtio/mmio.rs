//! The MMIO transport, version 2 (virtio 1.3, section 4.2): the registers through which a driver finds a
//! device, negotiates features and sets its virtqueues up.
//!
//! Sits on the bus and answers vCPU threads; the device itself lives in an event loop.

mod queue_setup;
pub(crate) mod register;

use std::io;

use virtio_queue::QueueT;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{Interrupt, VirtioDevice, Virtqueue, feature, status};
use crate::bus::{INTERRUPT_ACK_OFFSET, MmioDevice, QUEUE_NOTIFY_OFFSET};
use crate::event_loop::{DeviceHandle, EventLoop};
use crate::memory::GuestMemory;

use queue_setup::QueueSetup;
use register::{
    CONFIG, CONFIG_GENERATION, DEVICE_FEATURES, DEVICE_FEATURES_SEL, DEVICE_ID, DRIVER_FEATURES,
    DRIVER_FEATURES_SEL, INTERRUPT_STATUS, MAGIC_VALUE, QUEUE_READY, QUEUE_SEL, QUEUE_SIZE_MAX,
    SHM_BASE_HIGH, SHM_LEN_LOW, STATUS, VENDOR_ID, VERSION,
};

/// "virt", little-endian.
const MAGIC: u32 = 0x7472_6976;
/// Any value will do; drivers do not look at it.
const VENDOR: u32 = 0;

/// Why a transport cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The kernel refuses an eventfd.
    #[error("cannot make the notification event of a virtqueue")]
    MakeEvent(#[source] io::Error),
    /// The event loop does not take the device.
    #[error("cannot add a device to the event loop")]
    AddDevice(#[source] io::Error),
}

/// The registers of one device.
pub struct MmioTransport {
    memory: GuestMemory,
    interrupt: Interrupt,
    queue_events: Vec<EventFd>,
    device: DeviceHandle,
    features: u64,
    state: State,
}

/// What the driver has set since the last reset.
struct State {
    status: u32,
    features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: u32,
    queues: Vec<QueueSetup>,
}

impl MmioTransport {
    /// Puts `device` into the event loop and makes its registers. `line` is the irqfd of its interrupt.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn new(
        device: Box<dyn VirtioDevice>,
        memory: GuestMemory,
        line: EventFd,
        event_loop: &mut EventLoop,
    ) -> Result<Self, TransportError> {
        let queue_sizes = device.queue_sizes();
        let queue_events = queue_sizes
            .iter()
            .map(|_| EventFd::new(EFD_NONBLOCK))
            .collect::<Result<Vec<_>, _>>()
            .map_err(TransportError::MakeEvent)?;
        let interrupt = Interrupt::new(line);
        Ok(Self {
            memory,
            interrupt: interrupt.clone(),
            device: event_loop.add(device, &queue_events, interrupt).map_err(TransportError::AddDevice)?,
            queue_events,
            features: feature::VERSION_1 | feature::EVENT_IDX,
            state: State::new(queue_sizes.iter().copied()),
        })
    }

    /// Offers further features of the transport's own, which the device is not told of.
    #[must_use]
    pub(crate) fn offering(mut self, features: u64) -> Self {
        self.features |= features;
        self
    }

    /// The events that stand for a write of each queue's index to `QueueNotify`, for use as ioeventfds.
    #[must_use]
    pub fn queue_events(&self) -> &[EventFd] {
        &self.queue_events
    }

    /// The way to the device.
    pub(crate) fn device(&self) -> &DeviceHandle {
        &self.device
    }

    /// The features that the driver may accept.
    fn offered(&self) -> u64 {
        self.device.config().features() | self.features
    }

    fn read_register(&self, offset: u64) -> u32 {
        let queue = self.state.selected_queue();
        match offset {
            MAGIC_VALUE => MAGIC,
            VERSION => 2,
            DEVICE_ID => self.device.config().device_type(),
            VENDOR_ID => VENDOR,
            DEVICE_FEATURES => half(self.offered(), self.state.features_sel),
            QUEUE_SIZE_MAX => queue.map_or(0, |queue| u32::from(queue.max_size)),
            QUEUE_READY => u32::from(queue.is_some_and(|queue| queue.ready)),
            INTERRUPT_STATUS => self.interrupt.status(),
            STATUS if self.interrupt.needs_reset() => self.state.status | status::DEVICE_NEEDS_RESET,
            STATUS => self.state.status,
            // No device has shared memory: every length and base is -1.
            SHM_LEN_LOW..=SHM_BASE_HIGH => u32::MAX,
            CONFIG_GENERATION => self.device.config().generation(),
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u64, value: u32) {
        match offset {
            DEVICE_FEATURES_SEL => self.state.features_sel = value,
            DRIVER_FEATURES_SEL => self.state.driver_features_sel = value,
            DRIVER_FEATURES if self.state.in_negotiation() => self.state.set_driver_features(value),
            QUEUE_SEL => self.state.queue_sel = value,
            QUEUE_NOTIFY_OFFSET => {
                if let Some(event) = self.queue_events.get(value as usize) {
                    let _ = event.write(1);
                }
            }
            INTERRUPT_ACK_OFFSET => self.interrupt.acknowledge(value),
            STATUS => self.write_status(value),
            _ if self.state.in_setup() => {
                if let Some(queue) = self.state.queues.get_mut(self.state.queue_sel as usize) {
                    queue.write_register(offset, value, &self.memory);
                }
            }
            _ => {}
        }
    }

    /// The status state machine (virtio 1.3, sections 2.1 and 3.1): bits are set in order and cleared together.
    fn write_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        let offered = self.offered();
        let state = &mut self.state;
        for (bit, before) in [
            (status::ACKNOWLEDGE, 0),
            (status::DRIVER, status::ACKNOWLEDGE),
            (status::FEATURES_OK, status::DRIVER),
            (status::DRIVER_OK, status::FEATURES_OK),
            (status::FAILED, 0),
        ] {
            let added = value & bit != 0 && state.status & bit == 0;
            if !added || state.status & before != before {
                continue;
            }
            let accepted = match bit {
                status::FEATURES_OK => state.features_are_good(offered),
                status::DRIVER_OK => state.status & status::FAILED == 0,
                _ => true,
            };
            if accepted {
                state.status |= bit;
                if bit == status::DRIVER_OK {
                    return self.activate();
                }
            }
        }
    }

    fn activate(&mut self) {
        let event_idx = self.state.driver_features & feature::EVENT_IDX != 0;
        let mut queues = Vec::new();
        for (index, (setup, event)) in self.state.queues.iter().zip(&self.queue_events).enumerate() {
            let queue = if setup.ready { setup.queue(&self.memory) } else { None };
            // How many queues there have to be depends on what was negotiated: the device says it.
            let (Some(mut queue), Ok(kick)) = (queue, event.try_clone()) else { break };
            queue.set_event_idx(event_idx);
            queues.push(Virtqueue::new(index, queue, self.interrupt.clone(), kick));
        }
        let features = self.state.driver_features & !feature::ACCESS_PLATFORM;
        self.device.activate(self.memory.clone(), queues, features);
    }

    fn reset(&mut self) {
        if self.state.status & status::DRIVER_OK != 0 {
            self.device.reset();
        }
        self.state = State::new(self.state.queues.iter().map(|queue| queue.max_size));
        self.interrupt.reset();
    }
}

impl MmioDevice for MmioTransport {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(start) = offset.checked_sub(CONFIG) {
            self.device.config().read(start, data);
        } else if data.len() == 4 && offset.is_multiple_of(4) {
            data.copy_from_slice(&self.read_register(offset).to_le_bytes());
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        // Nothing in the configuration spaces here is writable; registers are written whole.
        if let (true, Ok(value)) = (offset < CONFIG && offset.is_multiple_of(4), data.try_into()) {
            self.write_register(offset, u32::from_le_bytes(value));
        }
    }
}

impl State {
    fn new(max_sizes: impl Iterator<Item = u16>) -> Self {
        let queues = max_sizes.map(QueueSetup::new).collect();
        Self { status: 0, features_sel: 0, driver_features_sel: 0, driver_features: 0, queue_sel: 0, queues }
    }

    fn in_negotiation(&self) -> bool {
        self.status & (status::DRIVER | status::FEATURES_OK) == status::DRIVER
    }

    fn in_setup(&self) -> bool {
        self.status & (status::FEATURES_OK | status::DRIVER_OK) == status::FEATURES_OK
    }

    fn set_driver_features(&mut self, value: u32) {
        let value = u64::from(value);
        match self.driver_features_sel {
            0 => self.driver_features = self.driver_features & !0xffff_ffff | value,
            1 => self.driver_features = self.driver_features & 0xffff_ffff | value << 32,
            _ => {}
        }
    }

    fn features_are_good(&self, offered: u64) -> bool {
        // A driver that does not know where it may put its buffers would put them where no device finds them.
        let required = offered & (feature::VERSION_1 | feature::ACCESS_PLATFORM);
        self.driver_features & !offered == 0 && self.driver_features & required == required
    }

    fn selected_queue(&self) -> Option<&QueueSetup> {
        self.queues.get(self.queue_sel as usize)
    }
}

/// The low (0) or high (1) half of a 64-bit value; zero for any other selector.
#[expect(clippy::cast_possible_truncation, reason = "a half is asked for")]
fn half(value: u64, selector: u32) -> u32 {
    match selector {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;

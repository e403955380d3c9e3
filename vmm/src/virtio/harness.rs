//! `DeviceHarness`: a fake driver that drives a device without a virtual machine, through the registers of its
//! transport and virtqueues in memory. For tests only.
//!
//! Single-threaded: the test turns the event loop itself, so that what a device does is the same at each run.

mod hostile;

use std::thread;

use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

pub(crate) use super::mmio::register;
use super::{MmioTransport, VirtioDevice, feature, status};
use crate::bus::{INTERRUPT_ACK_OFFSET, MmioDevice, QUEUE_NOTIFY_OFFSET};
use crate::event_loop::EventLoop;
use crate::memory::GuestMemory;

pub(crate) use hostile::{Numbers, fuzz, malformed_chains};

/// `flags` of a descriptor (virtio 1.3, section 2.7.5).
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// RAM of the fake guest: two regions with a hole, so that buffers can straddle an end.
pub(crate) const LOW: u64 = 16 << 20;
pub(crate) const HIGH: u64 = 1 << 32;
pub(crate) const HIGH_LEN: u64 = 1 << 20;

/// Where queue `i` has its rings: 64 KiB each from here.
const RINGS: u64 = 0x10_0000;
const RING_SPACE: u64 = 0x1_0000;

/// A descriptor as a test writes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desc {
    pub(crate) address: u64,
    pub(crate) len: u32,
    pub(crate) flags: u16,
    pub(crate) next: u16,
}

/// A buffer that a test wants in a chain.
#[derive(Clone, Debug)]
pub(crate) enum Part<'a> {
    /// Bytes for the device, put at the address.
    Out(u64, &'a [u8]),
    /// Room for the device.
    In(u64, u32),
}

/// An entry of a used ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) head: u32,
    pub(crate) len: u32,
}

/// The driver's side of a virtqueue.
pub(crate) struct DriverQueue {
    pub(crate) size: u16,
    pub(crate) descriptors: u64,
    pub(crate) available: u64,
    pub(crate) used: u64,
    next_descriptor: u16,
    next_available: u16,
    next_used: u16,
}

pub(crate) struct DeviceHarness {
    pub(crate) memory: GuestMemory,
    pub(crate) transport: MmioTransport,
    pub(crate) event_loop: EventLoop,
    pub(crate) queues: Vec<DriverQueue>,
    line: EventFd,
}

impl DeviceHarness {
    /// A device on its transport, untouched by a driver.
    pub(crate) fn new(device: Box<dyn VirtioDevice>) -> Self {
        let ranges = [
            (GuestAddress(0), usize::try_from(LOW).unwrap()),
            (GuestAddress(HIGH), usize::try_from(HIGH_LEN).unwrap()),
        ];
        Self::on(GuestMemory::from_ranges(&ranges).unwrap(), device)
    }

    /// A device on its transport, with that memory.
    pub(crate) fn on(memory: GuestMemory, device: Box<dyn VirtioDevice>) -> Self {
        let line = EventFd::new(EFD_NONBLOCK).unwrap();
        let mut event_loop = EventLoop::new().unwrap();
        let irq = line.try_clone().unwrap();
        let transport = MmioTransport::new(device, memory.clone(), irq, &mut event_loop).unwrap();
        Self { memory, transport, event_loop, queues: Vec::new(), line }
    }

    /// A device whose driver has accepted all features and set `DRIVER_OK`.
    pub(crate) fn started(device: Box<dyn VirtioDevice>) -> Self {
        let mut harness = Self::new(device);
        harness.start(u64::MAX);
        harness
    }

    /// Drives the device from reset to `DRIVER_OK`, accepting what it offers of `features`.
    pub(crate) fn start(&mut self, features: u64) {
        self.start_queues(features, u32::MAX);
    }

    /// As [`Self::start`], but of the queues only the first ones, as many as said, are set up.
    pub(crate) fn start_queues(&mut self, features: u64, count: u32) {
        self.negotiate(features);
        self.queues.clear();
        for index in 0..count {
            self.write(register::QUEUE_SEL, index);
            let size = self.read(register::QUEUE_SIZE_MAX);
            if size == 0 {
                break;
            }
            self.set_up_queue(index, u16::try_from(size).unwrap());
        }
        self.set_status(status::DRIVER_OK);
        self.run();
    }

    /// Drives the device from reset to `FEATURES_OK`.
    pub(crate) fn negotiate(&mut self, features: u64) {
        self.set_status(status::ACKNOWLEDGE);
        self.set_status(status::DRIVER);
        for half in 0..2u32 {
            self.write(register::DEVICE_FEATURES_SEL, half);
            let wanted = u32::try_from(features >> (32 * half) & 0xffff_ffff).unwrap();
            let accepted = self.read(register::DEVICE_FEATURES) & wanted;
            self.write(register::DRIVER_FEATURES_SEL, half);
            self.write(register::DRIVER_FEATURES, accepted);
        }
        self.set_status(status::FEATURES_OK);
    }

    fn set_up_queue(&mut self, index: u32, size: u16) {
        let base = RINGS + u64::from(index) * RING_SPACE;
        let queue = DriverQueue {
            size,
            descriptors: base,
            available: base + 0x4000,
            used: base + 0x8000,
            next_descriptor: 0,
            next_available: 0,
            next_used: 0,
        };
        self.memory.write_slice(&vec![0; 0x1_0000], GuestAddress(base)).unwrap();
        self.write(register::QUEUE_SIZE, u32::from(size));
        self.write_address(register::QUEUE_DESC_LOW, queue.descriptors);
        self.write_address(register::QUEUE_DRIVER_LOW, queue.available);
        self.write_address(register::QUEUE_DEVICE_LOW, queue.used);
        self.write(register::QUEUE_READY, 1);
        assert_eq!(self.read(register::QUEUE_READY), 1, "queue {index}");
        self.queues.push(queue);
    }

    pub(crate) fn write_address(&mut self, low_register: u64, address: u64) {
        self.write(low_register, u32::try_from(address & 0xffff_ffff).unwrap());
        self.write(low_register + 4, u32::try_from(address >> 32).unwrap());
    }

    pub(crate) fn read(&mut self, register: u64) -> u32 {
        let mut data = [0; 4];
        self.transport.read(register, &mut data);
        u32::from_le_bytes(data)
    }

    pub(crate) fn write(&mut self, register: u64, value: u32) {
        self.transport.write(register, &value.to_le_bytes());
    }

    pub(crate) fn config(&mut self, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        for (offset, byte) in (register::CONFIG..).zip(&mut data) {
            self.transport.read(offset, std::slice::from_mut(byte));
        }
        data
    }

    pub(crate) fn status(&mut self) -> u32 {
        self.read(register::STATUS)
    }

    pub(crate) fn set_status(&mut self, bit: u32) {
        let status = self.status();
        self.write(register::STATUS, status | bit);
    }

    pub(crate) fn needs_reset(&mut self) -> bool {
        self.status() & status::DEVICE_NEEDS_RESET != 0
    }

    /// Has the device look at what is behind it.
    pub(crate) fn measure(&mut self) -> std::io::Result<u64> {
        let Self { transport, event_loop, .. } = self;
        let handle = transport.device().clone();
        thread::scope(|scope| {
            let measured = scope.spawn(move || handle.measure(std::time::Duration::from_secs(60)));
            while !measured.is_finished() {
                event_loop.turn(1).unwrap();
            }
            measured.join().unwrap()
        })
    }

    /// Writes 0 to the status register, which waits for the event loop.
    pub(crate) fn reset(&mut self) {
        let Self { transport, event_loop, .. } = self;
        thread::scope(|scope| {
            let writer = scope.spawn(|| transport.write(register::STATUS, &[0; 4]));
            while !writer.is_finished() {
                event_loop.turn(1).unwrap();
            }
        });
        let _ = self.line.read();
    }

    /// Turns the event loop until it has nothing to do.
    pub(crate) fn run(&mut self) {
        for _ in 0..10_000 {
            if self.event_loop.turn(0).unwrap() == Some(0) {
                return;
            }
        }
        panic!("the device is never idle");
    }

    /// Turns the event loop, waiting, until `done`.
    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..10_000 {
            if done(self) {
                return;
            }
            self.event_loop.turn(10).unwrap();
        }
        panic!("what the test waits for never came");
    }

    /// Whether the interrupt was raised since the last call; acknowledges it.
    pub(crate) fn interrupted(&mut self) -> bool {
        let raised = self.line.read().is_ok();
        let pending = self.read(register::INTERRUPT_STATUS);
        self.write(INTERRUPT_ACK_OFFSET, pending);
        raised
    }

    /// How often the interrupt was raised since the last call.
    pub(crate) fn interrupts(&self) -> u64 {
        self.line.read().unwrap_or(0)
    }

    pub(crate) fn put_descriptor(&mut self, queue: usize, index: u16, desc: Desc) {
        let address = self.queues[queue].descriptors + 16 * u64::from(index);
        self.memory.write_slice(&encode(desc), GuestAddress(address)).unwrap();
    }

    /// Puts a head into the available ring, whatever it is.
    pub(crate) fn make_available(&mut self, queue: usize, head: u16) {
        let driver = &mut self.queues[queue];
        let slot = driver.available + 4 + 2 * u64::from(driver.next_available % driver.size);
        self.memory.write_obj(head.to_le(), GuestAddress(slot)).unwrap();
        driver.next_available = driver.next_available.wrapping_add(1);
        self.memory.write_obj(driver.next_available.to_le(), GuestAddress(driver.available + 2)).unwrap();
        // Interrupt at the next used buffer, as Linux asks after it has handled all (event index).
        let used_event = driver.available + 4 + 2 * u64::from(driver.size);
        self.memory.write_obj(driver.next_used.to_le(), GuestAddress(used_event)).unwrap();
    }

    pub(crate) fn kick(&mut self, queue: usize) {
        self.write(QUEUE_NOTIFY_OFFSET, u32::try_from(queue).unwrap());
        self.run();
    }

    /// Adds a well-formed chain and answers its head; descriptors are taken in turn, never freed.
    pub(crate) fn add(&mut self, queue: usize, parts: &[Part<'_>]) -> u16 {
        let size = self.queues[queue].size;
        let head = self.queues[queue].next_descriptor;
        let mut index = head;
        for (position, part) in parts.iter().enumerate() {
            let more = if position + 1 < parts.len() { NEXT } else { 0 };
            let following = (index + 1) % size;
            let desc = match part {
                Part::Out(address, bytes) => {
                    self.memory.write_slice(bytes, GuestAddress(*address)).unwrap();
                    let len = u32::try_from(bytes.len()).unwrap();
                    Desc { address: *address, len, flags: more, next: following }
                }
                Part::In(address, len) => {
                    Desc { address: *address, len: *len, flags: WRITE | more, next: following }
                }
            };
            self.put_descriptor(queue, index, desc);
            index = following;
        }
        self.queues[queue].next_descriptor = index;
        self.make_available(queue, head);
        head
    }

    /// Adds a chain of descriptors as they are, from descriptor 0 on, and kicks.
    pub(crate) fn offer(&mut self, queue: usize, table: &[Desc]) {
        for (index, desc) in (0..).zip(table) {
            self.put_descriptor(queue, index, *desc);
        }
        self.make_available(queue, 0);
        self.kick(queue);
    }

    /// The next entry of the used ring, if there is one.
    pub(crate) fn used(&mut self, queue: usize) -> Option<Used> {
        if !self.has_used(queue) {
            return None;
        }
        let driver = &mut self.queues[queue];
        let entry = driver.used + 4 + 8 * u64::from(driver.next_used % driver.size);
        driver.next_used = driver.next_used.wrapping_add(1);
        let head: u32 = self.memory.read_obj(GuestAddress(entry)).unwrap();
        let len: u32 = self.memory.read_obj(GuestAddress(entry + 4)).unwrap();
        Some(Used { head: u32::from_le(head), len: u32::from_le(len) })
    }

    /// Whether [`Self::used`] has an entry.
    pub(crate) fn has_used(&self, queue: usize) -> bool {
        let driver = &self.queues[queue];
        let index: u16 = self.memory.read_obj(GuestAddress(driver.used + 2)).unwrap();
        u16::from_le(index) != driver.next_used
    }

    pub(crate) fn memory_write(&self, address: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(address)).unwrap();
    }

    /// Sets 64 KiB to a byte.
    pub(crate) fn memory_fill(&self, address: u64, byte: u8) {
        self.memory_write(address, &vec![byte; 0x1_0000]);
    }

    pub(crate) fn bytes(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }
}

pub(crate) fn encode(desc: Desc) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&desc.address.to_le_bytes());
    bytes[8..12].copy_from_slice(&desc.len.to_le_bytes());
    bytes[12..14].copy_from_slice(&desc.flags.to_le_bytes());
    bytes[14..].copy_from_slice(&desc.next.to_le_bytes());
    bytes
}

/// No optional feature.
pub(crate) const BARE_FEATURES: u64 = feature::VERSION_1;

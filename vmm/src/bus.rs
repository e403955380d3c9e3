//! The MMIO bus: which device answers at a guest physical address, and how devices are wired to KVM.
//!
//! Each device has one 4 KiB [`Slot`] of the hole below 4 GiB and one GSI. Wiring, done by `builder`:
//! - interrupt: an `EventFd` registered as irqfd on the slot's GSI (edge triggered); the device writes 1 to it.
//! - queue notify: the transport's `queue_events()[i]` is registered as ioeventfd at the slot's base +
//!   [`QUEUE_NOTIFY_OFFSET`] with the 32-bit datamatch `i`, so a notify ends in the event loop and not in a vCPU
//!   thread. Everything else in the slot is an exit and ends in [`MmioDevice`].

use std::sync::{Mutex, PoisonError};

/// First guest physical address of the device slots, in the hole of the memory layout.
pub const MMIO_BASE: u64 = 0xd000_0000;

/// Bytes in a device's slot.
pub const SLOT_SIZE: u64 = 0x1000;

/// Offset in a slot of `QueueNotify` (virtio 1.3, section 4.2.2).
pub const QUEUE_NOTIFY_OFFSET: u64 = 0x50;

/// Offset in a slot of `InterruptACK`.
pub const INTERRUPT_ACK_OFFSET: u64 = 0x64;

/// GSIs for devices: I/O APIC pins that no legacy device of a PC owns.
pub const FIRST_GSI: u32 = 5;

/// The last pin of KVM's I/O APIC.
pub const LAST_GSI: u32 = 23;

/// A device that answers guest reads and writes in its slot. Calls come from vCPU threads, one at a time.
pub trait MmioDevice: Send {
    /// Fills `data` (1, 2, 4 or 8 bytes) from the register at `offset` bytes into the slot.
    fn read(&mut self, offset: u64, data: &mut [u8]);

    /// Writes `data` (1, 2, 4 or 8 bytes) to the register at `offset` bytes into the slot.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// Where a device sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// First guest physical address.
    pub base: u64,
    /// Interrupt line: I/O APIC pin and GSI.
    pub gsi: u32,
}

impl Slot {
    /// The slot of device number `index`, or `None` when the interrupt lines are used up.
    #[must_use]
    pub fn of(index: u32) -> Option<Self> {
        let gsi = (FIRST_GSI..=LAST_GSI).filter(|gsi| *gsi != RTC_GSI).nth(index as usize)?;
        Some(Self { base: MMIO_BASE + u64::from(index) * SLOT_SIZE, gsi })
    }
}

/// The line of the real-time clock, which Linux claims on any PC.
const RTC_GSI: u32 = 8;

/// The devices of a virtual machine in the order of their slots.
#[derive(Default)]
pub struct MmioBus {
    devices: Vec<Mutex<Box<dyn MmioDevice>>>,
}

impl MmioBus {
    /// Adds the device of the next slot.
    pub fn attach(&mut self, device: Box<dyn MmioDevice>) {
        self.devices.push(Mutex::new(device));
    }

    /// The slot that the next [`Self::attach`] fills.
    #[must_use]
    pub fn next_slot(&self) -> Option<Slot> {
        Slot::of(u32::try_from(self.devices.len()).ok()?)
    }

    /// A guest's read; where no device is, all bits are set as on a floating bus.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        match self.find(address, data.len()) {
            Some((device, offset)) => {
                device.lock().unwrap_or_else(PoisonError::into_inner).read(offset, data);
            }
            None => data.fill(0xff),
        }
    }

    /// A guest's write; where no device is, it is dropped.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((device, offset)) = self.find(address, data.len()) {
            device.lock().unwrap_or_else(PoisonError::into_inner).write(offset, data);
        }
    }

    /// The device of `len` bytes at `address` and the offset in its slot; none where the access leaves the slot.
    fn find(&self, address: u64, len: usize) -> Option<(&Mutex<Box<dyn MmioDevice>>, u64)> {
        let distance = address.checked_sub(MMIO_BASE)?;
        let device = self.devices.get(usize::try_from(distance / SLOT_SIZE).ok()?)?;
        let offset = distance % SLOT_SIZE;
        (offset + len as u64 <= SLOT_SIZE).then_some((device, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo(Vec<(u64, Vec<u8>)>);

    impl MmioDevice for Echo {
        fn read(&mut self, offset: u64, data: &mut [u8]) {
            data.fill(u8::try_from(offset & 0x7f).unwrap());
        }
        fn write(&mut self, offset: u64, data: &[u8]) {
            self.0.push((offset, data.to_vec()));
        }
    }

    #[test]
    fn accesses_reach_the_device_of_their_slot() {
        let mut bus = MmioBus::default();
        bus.attach(Box::new(Echo(Vec::new())));
        bus.attach(Box::new(Echo(Vec::new())));
        let mut data = [0; 4];
        bus.read(MMIO_BASE + SLOT_SIZE + 0x70, &mut data);
        assert_eq!(data, [0x70; 4]);
    }

    #[test]
    fn accesses_without_a_device_float() {
        let mut bus = MmioBus::default();
        bus.attach(Box::new(Echo(Vec::new())));
        for address in [0, MMIO_BASE - 1, MMIO_BASE + SLOT_SIZE, MMIO_BASE + SLOT_SIZE - 2, u64::MAX] {
            let mut data = [0; 4];
            bus.read(address, &mut data);
            assert_eq!(data, [0xff; 4], "{address:#x}");
            bus.write(address, &data);
        }
    }

    #[test]
    fn slots_have_distinct_lines_and_end() {
        let slots: Vec<_> = (0..).map_while(Slot::of).collect();
        assert_eq!(slots.len(), 18);
        assert!(
            slots
                .windows(2)
                .all(|pair| pair[0].gsi < pair[1].gsi && pair[0].base + SLOT_SIZE == pair[1].base)
        );
        assert!(slots.iter().all(|slot| slot.gsi != RTC_GSI));
    }
}

//! From the tap to the guest: frames are read straight into the driver's buffers (virtio 1.3, section 5.1.6.4).
//!
//! A frame's length is known when it has been read, so each read offers the driver's buffers and behind them memory of
//! the VMM: what of a frame lies there waits until the driver has made more buffers available.

use std::io;
use std::os::fd::AsFd;

use vm_memory::VolatileSlice;

use super::drops::{Drops, Reason};
use super::header::{HEADER_LEN, MAX_PACKET, NUM_BUFFERS};
use super::layout::ETHERNET_LEN;
use super::{Link, Window, feature};
use crate::memory::GuestMemory;
use crate::virtio::{DeviceError, UsedChain, Virtqueue};

/// Bytes of the longest frame with its header; a tap's may have a VLAN tag.
const MAX_FRAME: usize = HEADER_LEN + ETHERNET_LEN + 4 + MAX_PACKET + 1;

/// The most frames in a turn of the event loop, which other queues share.
const TURN: usize = 64;

/// A driver that waits is interrupted after so many buffers, and when there are no more frames.
const AT_LEAST_EVERY: usize = 64;

/// After so many frames of one packet, buffers for one packet are offered until a longer frame comes: its end is copied.
const SHORT_FRAMES: u32 = 32;

/// A receive queue.
pub(super) struct Receiver {
    queue: Virtqueue,
    window: Window,
    /// Bytes of the longest frame that the tap can have, and of one packet's.
    longest: usize,
    packet: usize,
    /// Bytes offered to the next frame, and how many frames of one packet came last.
    offered: usize,
    short: u32,
    mergeable: bool,
    checksums: bool,
    segments: bool,
    /// The end of a frame that did not fit, and the frame's length.
    spill: Vec<u8>,
    waiting: Option<Waiting>,
    used: Vec<UsedChain>,
    /// Buffers that the driver has had since it was last interrupted, or did not wish to be.
    untold: usize,
}

/// A frame of which some lies in the spill.
struct Waiting {
    len: usize,
    spilled: usize,
}

/// Why no frame was read.
enum Stop {
    /// The tap has none.
    Empty,
    /// The driver has no buffers.
    NoRoom,
}

impl Receiver {
    /// A receive queue of a driver with these features.
    pub(super) fn new(queue: Virtqueue, features: u64, mtu: u16) -> Self {
        let segments = feature::takes_segments(features);
        let packet = HEADER_LEN + ETHERNET_LEN + 4 + usize::from(mtu);
        Self {
            queue,
            window: Window::default(),
            longest: if segments { MAX_FRAME } else { packet },
            packet,
            offered: packet,
            short: 0,
            mergeable: features & feature::MRG_RXBUF != 0,
            checksums: features & feature::GUEST_CSUM != 0,
            segments,
            spill: vec![0; MAX_FRAME],
            waiting: None,
            used: Vec::new(),
            untold: 0,
        }
    }

    /// Reads frames while there are some, and room for them.
    ///
    /// # Errors
    /// The driver broke the ring.
    pub(super) fn receive(
        &mut self,
        memory: &GuestMemory,
        link: &mut Link,
        drops: &mut Drops,
    ) -> Result<(), DeviceError> {
        self.read_frames(memory, link, drops)?;
        self.tell(memory)
    }

    fn read_frames(
        &mut self,
        memory: &GuestMemory,
        link: &mut Link,
        drops: &mut Drops,
    ) -> Result<(), DeviceError> {
        for _ in 0..TURN {
            if !link.readable {
                return Ok(());
            }
            self.take_buffers(memory, drops)?;
            match self.read_frame(memory, link, drops)? {
                Some(Stop::Empty) => link.readable = false,
                Some(Stop::NoRoom) => {
                    if !self.queue.enable_kicks(memory)? {
                        return Ok(());
                    }
                    self.queue.disable_kicks(memory)?;
                }
                None => {}
            }
        }
        self.queue.kick_again()
    }

    fn tell(&mut self, memory: &GuestMemory) -> Result<(), DeviceError> {
        self.untold = 0;
        self.queue.notify(memory)
    }

    /// Takes buffers for the longest frame, or as many as there are.
    fn take_buffers(&mut self, memory: &GuestMemory, drops: &mut Drops) -> Result<(), DeviceError> {
        let mut refused = 0;
        let wanted = if self.mergeable { self.longest } else { 1 };
        self.queue.disable_kicks(memory)?;
        while self.window.room(self.mergeable) < wanted && refused < TURN {
            let Some(chain) = self.queue.pop(memory)? else { break };
            let head = chain.head_index();
            if !self.window.add(memory, chain, self.queue.size()) {
                refused += 1;
                drops.count(Reason::Buffer);
                self.queue.push_used(memory, head, 0)?;
                self.queue.notify(memory)?;
            }
        }
        if refused < TURN { Ok(()) } else { self.queue.kick_again() }
    }

    /// Reads one frame, or finishes one that waits.
    fn read_frame(
        &mut self,
        memory: &GuestMemory,
        link: &Link,
        drops: &mut Drops,
    ) -> Result<Option<Stop>, DeviceError> {
        let room = self.window.room(self.mergeable);
        let Waiting { len, spilled } = match self.waiting.take() {
            Some(waiting) => waiting,
            None if room == 0 => return Ok(Some(Stop::NoRoom)),
            None => match self.read(memory, link, room) {
                Ok(frame) => frame,
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        log::warn!("cannot read from the tap: {error}");
                    }
                    return Ok(Some(Stop::Empty));
                }
            },
        };
        if len == 0 {
            return Ok(Some(Stop::Empty));
        }
        if len > room && len <= self.longest && self.mergeable {
            self.waiting = Some(Waiting { len, spilled });
            return Ok(Some(Stop::NoRoom));
        }
        if len > room || len < HEADER_LEN + ETHERNET_LEN || !self.fits_driver(memory) {
            drops.count(Reason::Unfit);
            return Ok(None);
        }
        if spilled > 0 {
            let mut rest = self.window.all(memory, len);
            rest.skip(len - spilled);
            rest.write(&self.spill[..spilled]);
        }
        self.hand_over(memory, len)?;
        Ok(None)
    }

    /// One read of the tap.
    fn read(&mut self, memory: &GuestMemory, link: &Link, room: usize) -> io::Result<Waiting> {
        let mut buffers = self.window.front(memory, room.min(self.offered));
        let direct = buffers.len();
        buffers.append_slice(VolatileSlice::from(self.spill.as_mut_slice()));
        let len = buffers.read_from_stream(link.fd.as_fd())?;
        self.short = if len > self.packet { 0 } else { self.short.saturating_add(1) };
        self.offered = if self.short < SHORT_FRAMES { self.longest } else { self.packet };
        Ok(Waiting { len, spilled: len.saturating_sub(direct) })
    }

    /// Whether the driver has negotiated what the frame needs; the tap may have kept it from before a reset.
    fn fits_driver(&self, memory: &GuestMemory) -> bool {
        let kind = || self.window.all(memory, HEADER_LEN).read_array::<2>();
        self.segments || kind().is_some_and(|[_, gso_type]| gso_type == 0)
    }

    /// Gives the driver the frame that lies in its buffers.
    fn hand_over(&mut self, memory: &GuestMemory, len: usize) -> Result<(), DeviceError> {
        let mut header = self.window.all(memory, HEADER_LEN);
        self.window.fill(len, &mut self.used);
        if !self.checksums {
            // Such a driver finds no flags (virtio 1.3, section 5.1.6.4.1).
            header.write(&[0]);
            header.skip(NUM_BUFFERS - 1);
        } else {
            header.skip(NUM_BUFFERS);
        }
        header.write(&u16::try_from(self.used.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.queue.push_all_used(memory, &self.used)?;
        self.untold += self.used.len();
        if self.untold < AT_LEAST_EVERY { Ok(()) } else { self.tell(memory) }
    }
}

//! From the guest to the tap: each chain is a frame, checked and written with one system call (virtio 1.3, section
//! 5.1.6.2). The bytes that were checked are those that are sent: the guest cannot change them in between.

use std::io;
use std::os::fd::AsFd;

use vm_memory::VolatileSlice;

use super::Link;
use super::drops::{Drops, Reason};
use super::filter::{INSPECTED, Identity, Refusal};
use super::header::{HEADER_LEN, Header, MAX_PACKET};
use super::layout::ETHERNET_LEN;
use crate::memory::GuestMemory;
use crate::virtio::{Buffers, Chain, DeviceError, MAX_SLICES, Virtqueue};

/// The most frames in a turn of the event loop, which other queues share.
const TURN: u16 = 32;

/// What a frame has to fit.
pub(super) struct Rules<'a> {
    pub(super) identity: &'a Identity,
    pub(super) features: u64,
    pub(super) mtu: u16,
}

/// What became of a frame.
enum Sent {
    Yes,
    /// The tap takes none now.
    Blocked,
    No(Reason),
}

impl Rules<'_> {
    /// Sends the frames of a transmit queue.
    ///
    /// # Errors
    /// The driver broke the ring.
    pub(super) fn transmit(
        &self,
        queue: &mut Virtqueue,
        memory: &GuestMemory,
        link: &mut Link,
        drops: &mut Drops,
    ) -> Result<(), DeviceError> {
        let max_len = queue.size();
        queue.drain_some(TURN, memory, |descriptors| {
            let sent = match Chain::parse(memory, descriptors, max_len) {
                Ok(chain) => self.send(chain.readable, link),
                Err(_) => Sent::No(Reason::Refused(Refusal::Malformed)),
            };
            link.blocked = matches!(sent, Sent::Blocked);
            match sent {
                Sent::Yes => {}
                Sent::Blocked => return None,
                Sent::No(reason) => drops.count(reason),
            }
            Some(0)
        })
    }

    fn send(&self, frame: Buffers<'_>, link: &Link) -> Sent {
        let mut head = [0; HEADER_LEN + INSPECTED];
        let (head, rest) = match self.check(frame, &mut head) {
            Ok(checked) => checked,
            Err(refusal) => return Sent::No(Reason::Refused(refusal)),
        };
        let mut rest = rest;
        let mut copy = Vec::new();
        let mut whole = Buffers::with_capacity(rest.pieces().min(MAX_SLICES) + 1);
        whole.append_slice(VolatileSlice::from(head));
        if rest.pieces() < MAX_SLICES {
            whole.extend(rest);
        } else {
            // More pieces than go into one system call: a frame cannot be written by and by.
            copy.resize(rest.len(), 0);
            rest.read(&mut copy);
            whole.append_slice(VolatileSlice::from(copy.as_mut_slice()));
        }
        match whole.write_to_stream(link.fd.as_fd()) {
            Ok(_) => Sent::Yes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Blocked,
            Err(_) => Sent::No(Reason::Tap),
        }
    }

    /// Checks a frame; answers its first bytes, with the header for the tap, and the rest.
    fn check<'h, 'm>(
        &self,
        mut frame: Buffers<'m>,
        head: &'h mut [u8; HEADER_LEN + INSPECTED],
    ) -> Result<(&'h mut [u8], Buffers<'m>), Refusal> {
        let len = frame.len().checked_sub(HEADER_LEN).ok_or(Refusal::Malformed)?;
        if len > ETHERNET_LEN + MAX_PACKET {
            return Err(Refusal::Malformed);
        }
        let count = frame.read(head);
        let (header, start) =
            head[..count].split_first_chunk_mut::<HEADER_LEN>().ok_or(Refusal::Malformed)?;
        let asked = Header::parse(header, self.features)?;
        let layout = self.identity.check(start, len)?;
        *header = asked.fit(&layout, len, self.mtu)?;
        Ok((&mut head[..count], frame))
    }
}

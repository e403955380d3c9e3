//! The header before each frame (`struct virtio_net_hdr`, virtio 1.3, section 5.1.6): what is still to be done with
//! the frame. The guest's is checked against the frame and written anew for the tap, whose header has the same form.

use super::feature;
use super::filter::Refusal;
use super::layout::{ETHERNET_LEN, Layout, Network, protocol};

/// Bytes of the header of a device that follows virtio 1.0 or later; the tap is told so.
pub(super) const HEADER_LEN: usize = 12;
/// Where the header has `num_buffers`.
pub(super) const NUM_BUFFERS: usize = 10;
/// The longest IP packet of a frame that is to be segmented, in bytes.
pub(super) const MAX_PACKET: usize = 65535;

/// The most segments that a frame may ask for, each of which costs the host as a packet does: more than Linux makes of
/// 64 KiB, whose TCP sends at least 36 bytes in each, and whose UDP sends no more segments at once.
const MAX_TCP_SEGMENTS: usize = 2048;
const MAX_UDP_SEGMENTS: usize = 128;
/// The shortest header before what is cut into segments: UDP's.
const UDP_LEN: usize = 8;

/// `flags`: the checksum is to be completed.
const NEEDS_CSUM: u8 = 1;

/// `gso_type`.
mod gso {
    pub(super) const NONE: u8 = 0;
    pub(super) const TCPV4: u8 = 1;
    pub(super) const TCPV6: u8 = 4;
    pub(super) const UDP_L4: u8 = 5;
}

/// A checksum to be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Checksum {
    start: u16,
    offset: u16,
}

/// What the guest asks to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    checksum: Option<Checksum>,
    gso_type: u8,
    gso_size: u16,
    hdr_len: u16,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// [`Refusal::Malformed`]: it asks for what `features`, those negotiated, do not have.
    pub(super) fn parse(bytes: &[u8; HEADER_LEN], features: u64) -> Result<Self, Refusal> {
        let [flags, gso_type, lengths @ ..] = bytes;
        let number = |offset: usize| u16::from_le_bytes([lengths[offset], lengths[offset + 1]]);
        let allowed = match *gso_type {
            gso::NONE => true,
            gso::TCPV4 => features & feature::HOST_TSO4 != 0,
            gso::TCPV6 => features & feature::HOST_TSO6 != 0,
            gso::UDP_L4 => features & feature::HOST_USO != 0,
            _ => false,
        };
        // Other flags are not the driver's to set; the device ignores them (virtio 1.3, section 5.1.6.2).
        let wanted = flags & NEEDS_CSUM != 0;
        if !allowed || wanted && features & feature::CSUM == 0 {
            return Err(Refusal::Malformed);
        }
        let checksum = wanted.then(|| Checksum { start: number(4), offset: number(6) });
        Ok(Self { checksum, gso_type: *gso_type, gso_size: number(2), hdr_len: number(0) })
    }

    /// Whether it fits a frame of `len` bytes for a link of that MTU; answers the header for the tap.
    ///
    /// A checksum is written into the frame behind the filter's back, so it must lie behind all that the filter has
    /// looked at.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub(super) fn fit(&self, layout: &Layout, len: usize, mtu: u16) -> Result<[u8; HEADER_LEN], Refusal> {
        let sound = match self.checksum {
            None => self.gso_type == gso::NONE,
            Some(Checksum { start, offset }) => {
                let start = usize::from(start);
                layout.network != Network::Arp
                    && !layout.discovery
                    && start >= layout.transport
                    && start + usize::from(offset) + 2 <= len
            }
        };
        let longest = if self.gso_type == gso::NONE { mtu.into() } else { MAX_PACKET };
        if !sound || len > ETHERNET_LEN + longest || !self.segments_fit(layout, len) {
            return Err(Refusal::Malformed);
        }
        Ok(self.encode(len))
    }

    /// Whether the frame can be cut into segments, and into a bounded number of them.
    fn segments_fit(&self, layout: &Layout, len: usize) -> bool {
        let (network, protocol, offset, most) = match self.gso_type {
            gso::NONE => return true,
            gso::TCPV4 => (Network::Ipv4, protocol::TCP, 16, MAX_TCP_SEGMENTS),
            gso::TCPV6 => (Network::Ipv6, protocol::TCP, 16, MAX_TCP_SEGMENTS),
            _ => (layout.network, protocol::UDP, 6, MAX_UDP_SEGMENTS),
        };
        let segments =
            len.saturating_sub(layout.transport + UDP_LEN).div_ceil(usize::from(self.gso_size).max(1));
        let starts = self.checksum.map(|checksum| (usize::from(checksum.start), checksum.offset));
        layout.network == network
            && layout.protocol == protocol
            && !layout.fragment
            && starts == Some((layout.transport, offset))
            && self.gso_size > 0
            && segments <= most
    }

    fn encode(&self, len: usize) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[1] = self.gso_type;
        // A hint, and the guest's: no more than the frame has.
        let hdr_len = u16::try_from(len).map_or(self.hdr_len, |len| self.hdr_len.min(len));
        bytes[2..4].copy_from_slice(&hdr_len.to_le_bytes());
        if self.gso_type != gso::NONE {
            bytes[4..6].copy_from_slice(&self.gso_size.to_le_bytes());
        }
        if let Some(Checksum { start, offset }) = self.checksum {
            bytes[0] = NEEDS_CSUM;
            bytes[6..8].copy_from_slice(&start.to_le_bytes());
            bytes[8..10].copy_from_slice(&offset.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests;

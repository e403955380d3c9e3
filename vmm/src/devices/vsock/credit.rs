//! A connection's flow control (virtio 1.3, section 5.10.6.3): what each end may still send the other.
//!
//! Counters are the protocol's: free-running, 32 bits wide.

use std::num::Wrapping;

use super::header::Header;

/// Bytes of unwritten data that the guest may have sent on a connection.
pub(super) const BUF_ALLOC: u32 = 256 * 1024;
/// The guest is told of its credit when so many bytes of it are free that it does not know of.
const STEP: u32 = BUF_ALLOC / 4;

/// Both directions' counters.
#[derive(Default)]
pub(super) struct Credit {
    /// Bytes sent to the guest, and the guest's last word on what it holds and has consumed.
    sent: Wrapping<u32>,
    guest_alloc: u32,
    guest_consumed: Wrapping<u32>,
    /// Bytes received from the guest, those of them that wait no more, and the last count that it was told.
    received: Wrapping<u32>,
    forwarded: Wrapping<u32>,
    advertised: Wrapping<u32>,
}

impl Credit {
    /// Takes the guest's word from a packet's header.
    pub(super) fn learn(&mut self, header: &Header) {
        self.guest_alloc = header.buf_alloc;
        self.guest_consumed = Wrapping(header.fwd_cnt);
    }

    /// Bytes that the guest takes now. A guest that claims to have consumed more than it got gets nothing.
    pub(super) fn to_guest(&self) -> usize {
        self.guest_alloc.saturating_sub((self.sent - self.guest_consumed).0) as usize
    }

    pub(super) fn sent(&mut self, len: u32) {
        self.sent += len;
    }

    /// Counts bytes that came from the guest; false where it was not granted that many.
    pub(super) fn received(&mut self, len: usize) -> bool {
        let room = BUF_ALLOC - (self.received - self.forwarded).0;
        match u32::try_from(len) {
            Ok(len) if len <= room => self.received += len,
            _ => return false,
        }
        true
    }

    /// Counts bytes of the guest that the socket took.
    pub(super) fn forwarded(&mut self, len: usize) {
        self.forwarded += u32::try_from(len).unwrap_or(0);
    }

    /// All bytes received wait no more.
    pub(super) fn forwarded_all(&mut self) {
        self.forwarded = self.received;
    }

    /// Whether the guest should hear of its credit.
    pub(super) fn is_due(&self) -> bool {
        (self.forwarded - self.advertised).0 >= STEP
    }

    /// The `fwd_cnt` of a packet that is about to be sent.
    pub(super) fn advertise(&mut self) -> u32 {
        self.advertised = self.forwarded;
        self.advertised.0
    }
}

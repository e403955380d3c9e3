//! Counts what a network device drops. The first of each kind is told at once, the rest when the device is reset or
//! its machine ends: a guest cannot fill the log.

use super::filter::Refusal;

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    /// A chain or frame of the guest that makes no sense, or that the filter refuses.
    Refused(Refusal),
    /// The tap did not take a frame of the guest.
    Tap,
    /// A frame for the guest that did not fit the guest's buffer, or needed what the guest has not negotiated.
    Unfit,
    /// A buffer for frames that makes no sense.
    Buffer,
}

/// The kinds with their words.
const KINDS: [(Reason, &str); 9] = [
    (Reason::Refused(Refusal::Malformed), "malformed frames"),
    (Reason::Refused(Refusal::HardwareSource), "frames from a MAC address that is not the pod's"),
    (Reason::Refused(Refusal::Protocol), "frames of other protocols than IP and ARP"),
    (Reason::Refused(Refusal::Source), "frames from an IP address that is not the pod's"),
    (Reason::Refused(Refusal::Discovery), "frames of neighbour discovery that speak for others"),
    (Reason::Refused(Refusal::Lease), "frames of a DHCP server"),
    (Reason::Tap, "frames that the tap did not take"),
    (Reason::Unfit, "frames that the guest has no room for"),
    (Reason::Buffer, "malformed buffers"),
];

/// How many frames were dropped, by reason.
#[derive(Debug, Default)]
pub(super) struct Drops([u64; KINDS.len()]);

impl Drops {
    /// Counts one.
    pub(super) fn count(&mut self, reason: Reason) {
        for (count, (kind, words)) in self.0.iter_mut().zip(KINDS) {
            if kind == reason {
                if *count == 0 {
                    log::warn!("network device: {words} are dropped");
                }
                *count += 1;
            }
        }
    }

    /// Tells the counts that the first line did not.
    pub(super) fn tell(&self) {
        for (count, (_, words)) in self.0.iter().zip(KINDS) {
            if *count > 1 {
                log::warn!("network device: {count} {words} were dropped");
            }
        }
    }
}

//! Feature bits of the network device (virtio 1.3, section 5.1.3), and what of a tap they stand for.

/// The device completes checksums of what the driver sends.
pub(super) const CSUM: u64 = 1 << 0;
/// The driver completes checksums of what it gets.
pub(super) const GUEST_CSUM: u64 = 1 << 1;
/// The configuration has the MTU.
pub(super) const MTU: u64 = 1 << 3;
/// The configuration has the MAC address.
pub(super) const MAC: u64 = 1 << 5;
/// The driver takes packets of many segments.
pub(super) const GUEST_TSO4: u64 = 1 << 7;
pub(super) const GUEST_TSO6: u64 = 1 << 8;
/// The device takes packets of many segments.
pub(super) const HOST_TSO4: u64 = 1 << 11;
pub(super) const HOST_TSO6: u64 = 1 << 12;
/// A frame may fill more than one buffer of the driver.
pub(super) const MRG_RXBUF: u64 = 1 << 15;
/// There is a control queue.
pub(super) const CTRL_VQ: u64 = 1 << 17;
/// There is more than one pair of queues.
pub(super) const MQ: u64 = 1 << 22;
/// The device takes UDP packets of many segments.
pub(super) const HOST_USO: u64 = 1 << 56;

/// Features of every network device here.
pub(super) const ALWAYS: u64 =
    CSUM | GUEST_CSUM | MTU | MAC | GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6 | MRG_RXBUF;

/// What the tap may leave to a driver with these features (`TUN_F_…`). None of it goes without checksums.
pub(super) fn offloads(features: u64) -> libc::c_uint {
    let bits = [(GUEST_TSO4, libc::TUN_F_TSO4), (GUEST_TSO6, libc::TUN_F_TSO6)];
    if features & GUEST_CSUM == 0 {
        return 0;
    }
    bits.iter()
        .filter(|(bit, _)| features & bit != 0)
        .fold(libc::TUN_F_CSUM, |all, (_, offload)| all | offload)
}

/// Whether the tap may hand over packets of many segments.
pub(super) fn takes_segments(features: u64) -> bool {
    offloads(features) & !libc::TUN_F_CSUM != 0
}

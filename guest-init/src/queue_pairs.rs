//! The pairs of queues of a network interface: the driver uses as many as there were processors when it met the device
//! (virtio 1.3, section 5.1.6.5.5), and these start later.
#![expect(unsafe_code, reason = "interface ioctls have no safe wrapper")]

use rustix::fd::AsRawFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;

/// `SIOCETHTOOL` and its commands (linux/sockios.h, linux/ethtool.h).
const ETHTOOL: u32 = 0x8946;
const GET_CHANNELS: u32 = 0x3c;
const SET_CHANNELS: u32 = 0x3d;

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most: [u32; 3],
    most_combined: u32,
    counts: [u32; 3],
    combined: u32,
}

/// Has the interface use a pair for each of so many processors, or all it has.
///
/// # Errors
/// What socket(2) and SIOCETHTOOL say (netdevice(7)).
pub(crate) fn spread(interface: &str, processors: u32) -> io::Result<()> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
    let ask = |channels: &mut Channels| {
        // SAFETY: ifreq is integers and a union of plain data, for which zero is a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The last byte stays the final NUL.
        for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(interface.bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_data = (&raw mut *channels).cast();
        // SAFETY: both commands take an ifreq that points to a struct ethtool_channels, which is what `Channels` is laid out
        // as; both outlive the call.
        match unsafe { libc::ioctl(socket.as_raw_fd(), ETHTOOL as _, &raw mut request) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    ask(&mut channels)?;
    let wanted = channels.most_combined.min(processors);
    if channels.combined == wanted {
        return Ok(());
    }
    channels.command = SET_CHANNELS;
    channels.combined = wanted;
    ask(&mut channels)
}

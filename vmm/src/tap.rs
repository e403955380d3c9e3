//! A new tap (tuntap, Documentation/networking/tuntap.rst): what [`crate::devices::net`] is connected to. Opened by the
//! process of a network in the namespace where its bridge is, never by the virtual machine's own.
#![expect(unsafe_code, reason = "TUNSETIFF is a raw system call that rustix does not have")]

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

/// Opens so many queues of a new tap in the caller's network namespace, in non-blocking mode, with `IFF_TAP`, `IFF_NO_PI`,
/// `IFF_VNET_HDR`, and `IFF_MULTI_QUEUE` where they are more than one. `name` has `%d` where the kernel puts a free number,
/// so that no other's tap is joined; the whole name is answered. The tap is gone with the last of its descriptors.
///
/// # Errors
/// There is no `/dev/net/tun`, the caller may not use it, or the name is too long.
pub fn open(name: &str, queues: u8) -> io::Result<(String, Vec<OwnedFd>)> {
    let multiple = if queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | multiple;
    let (whole, first) = open_queue(name, flags)?;
    let mut opened = vec![first];
    for _ in 1..queues {
        opened.push(open_queue(&whole, flags)?.1);
    }
    Ok((whole, opened))
}

fn open_queue(name: &str, flags: i32) -> io::Result<(String, OwnedFd)> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: all zeros is a value of this structure of numbers.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() || !name.is_ascii() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which outlives the call.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let given = request.ifr_name.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0);
    Ok((given.map(char::from).collect(), file.into()))
}

//! One queue of a tap device, opened by whoever made the tap: how frames come with it and go.
#![expect(unsafe_code, reason = "the requests of ioctl(2) on a tap have no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{OFlags, fcntl_getfl};

use super::header::HEADER_LEN;

/// Why a descriptor cannot be a network device's.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The device has none, or more than it can have.
    #[error("a network device of {0} queues")]
    Queues(usize),
    /// It is no tap, or not attached.
    #[error("cannot learn what network interface a descriptor belongs to")]
    Identify(#[source] io::Error),
    /// It was opened otherwise than [`super::NetConfig`] says.
    #[error("a tap without IFF_TAP, IFF_NO_PI, IFF_VNET_HDR or O_NONBLOCK")]
    Mode,
    /// The kernel refuses the header's size or the offloads.
    #[error("cannot set the tap's {0}")]
    Set(&'static str, #[source] io::Error),
}

/// Checks a queue and sets the tap up: the length of headers, no offloads so far. Answers whether the tap can take
/// UDP packets of many segments, which Linux can since 6.2.
///
/// # Errors
/// [`TapError`].
pub(super) fn prepare(queue: BorrowedFd<'_>) -> Result<bool, TapError> {
    let wanted = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let flags = interface_flags(queue).map_err(TapError::Identify)?;
    let status = fcntl_getfl(queue).map_err(|error| TapError::Identify(error.into()))?;
    if i32::from(flags) & wanted != wanted || !status.contains(OFlags::NONBLOCK) {
        return Err(TapError::Mode);
    }
    let len = libc::c_int::try_from(HEADER_LEN).unwrap_or(libc::c_int::MAX);
    // SAFETY: TUNSETVNETHDRSZ reads one int, which outlives the call.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const len) })
        .map_err(|error| TapError::Set("header size", error))?;
    let segments = libc::TUN_F_CSUM | libc::TUN_F_USO4 | libc::TUN_F_USO6;
    let udp = set_offloads(queue, segments).is_ok();
    set_offloads(queue, 0).map_err(|error| TapError::Set("offloads", error))?;
    Ok(udp)
}

/// Tells the tap what it may leave to who reads from it: `TUN_F_…`.
///
/// # Errors
/// The kernel's.
pub(super) fn set_offloads(queue: BorrowedFd<'_>, offloads: libc::c_uint) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes a number and no memory.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads)) })
}

/// The mode that the tap was opened in.
fn interface_flags(queue: BorrowedFd<'_>) -> io::Result<libc::c_short> {
    // SAFETY: ifreq is integers and a union of plain data, for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: TUNGETIFF writes one ifreq, which outlives the call.
    check(unsafe { libc::ioctl(queue.as_fd().as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
    // SAFETY: the kernel has filled the union in with flags.
    Ok(unsafe { request.ifr_ifru.ifru_flags })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

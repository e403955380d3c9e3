//! Lets the host's kernel destroy a virtual machine and its taps after the process that ran it has gone.
//!
//! Whoever closes the last descriptor of a KVM machine destroys it, and waits for its nested page tables to be freed:
//! an RCU barrier, two or three ticks of the host's clock in which nothing is done. With that of a tap goes its interface,
//! which takes as long. A process that ends would wait
//! too, and so would all that wait for it. So the last descriptors go into the queue of a socket that nobody can reach,
//! because its own only descriptor lies in the same queue. Linux finds such sockets when any socket is closed and lets
//! go of what is in them on a thread of its own (net/unix/garbage.c; since 6.9, older kernels do it in the caller's).
//!
//! Guest memory is not the machine's but the process's and goes with it. A process that is killed closes its
//! descriptors the usual way. Called by `vm`.
#![expect(unsafe_code, reason = "descriptors of KVM are known by number only")]

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};

/// Two connected sockets, made while sockets may still be made. They are streams: those send to each other only, while a
/// datagram socket, connected or not, could be made to send to any named one of the host by a thread gone astray.
pub(crate) struct Disposal {
    near: OwnedFd,
    /// The one that becomes unreachable.
    far: OwnedFd,
}

impl Disposal {
    /// # Errors
    /// socketpair(2).
    pub(crate) fn new() -> io::Result<Self> {
        let (near, far) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        Ok(Self { near, far })
    }

    /// Lets go of descriptors. Where the kernel takes them into no queue (too many of this user's descriptors are in
    /// queues), closing them is the caller's own work, as it would be without this.
    pub(crate) fn dispose(self, machine: impl AsRawFd, taps: Vec<OwnedFd>) {
        let Self { near, far } = self;
        // SAFETY: `machine` owns the number and lives until after the last use of `borrowed`.
        let borrowed = unsafe { BorrowedFd::borrow_raw(machine.as_raw_fd()) };
        let passed: Vec<_> =
            [borrowed, far.as_fd()].into_iter().chain(taps.iter().map(OwnedFd::as_fd)).collect();
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(passed.len()))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if ancillary.push(SendAncillaryMessage::ScmRights(&passed)) {
            let _ = sendmsg(&near, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::empty());
        }
        drop((machine, taps));
        // In this order: the end of the near one makes the kernel look for sockets that nobody can reach.
        drop(far);
        drop(near);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use rustix::io::Errno;
    use rustix::net::{SocketAddrUnix, sendto};

    /// The end of a stream is closed by the kernel alone: its other end sees it.
    #[test]
    fn what_is_disposed_of_is_closed_in_the_end() {
        let (mut stream, other) = UnixStream::pair().unwrap();
        let (mut second, its_other) = UnixStream::pair().unwrap();
        Disposal::new().unwrap().dispose(OwnedFd::from(other), vec![its_other.into()]);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert_eq!(second.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn another_descriptor_of_it_keeps_it_open() {
        let (mut stream, other) = UnixStream::pair().unwrap();
        let kept = other.try_clone().unwrap();
        Disposal::new().unwrap().dispose(OwnedFd::from(other), Vec::new());
        rustix::io::write(&kept, b"x").unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 1);
        drop(kept);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn its_sockets_reach_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["datagram", "stream"].map(|name| dir.path().join(name));
        let _others = (UnixDatagram::bind(&paths[0]).unwrap(), UnixListener::bind(&paths[1]).unwrap());
        let Disposal { near, far } = Disposal::new().unwrap();
        for path in &paths {
            let address = SocketAddrUnix::new(path).unwrap();
            for socket in [&near, &far] {
                assert_eq!(sendto(socket, b"x", SendFlags::empty(), &address), Err(Errno::ISCONN));
            }
        }
    }
}

//! What passes the interfaces of this thread's network.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};

use super::shell;

/// How long what was sent may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that may wait to be looked at.
const ROOM: usize = 32 << 20;

/// A frame and the number of the interface that it was heard on.
pub(super) type Heard = (u32, Vec<u8>);

/// Hears all frames from its making on.
pub(super) struct Wire(OwnedFd);

impl Wire {
    /// Hears all interfaces.
    pub(super) fn tap() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &ROOM).unwrap();
        Self(socket)
    }

    /// All that was heard when it is enough.
    pub(super) fn until(&self, enough: impl Fn(&[Heard]) -> bool) -> Vec<Heard> {
        let begun = Instant::now();
        let mut heard = Vec::new();
        let mut frame = vec![0; 1 << 16];
        loop {
            while let Ok((len, from)) = recvfrom::<LinkAddr>(self.0.as_raw_fd(), &mut frame) {
                let index = u32::try_from(from.unwrap().ifindex()).unwrap();
                heard.push((index, frame[..len].to_vec()));
            }
            if enough(&heard) {
                return heard;
            }
            assert!(begun.elapsed() < PATIENCE, "what is waited for is not among {} frames", heard.len());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The number of an interface.
pub(super) fn index(name: &str) -> u32 {
    let numbers = indices(&format!("dev {name}"));
    numbers.into_iter().next().unwrap()
}

/// The numbers of a bridge and of its ports.
pub(super) fn of_bridge(name: &str) -> BTreeSet<u32> {
    let mut numbers = indices(&format!("master {name}"));
    numbers.insert(index(name));
    numbers
}

fn indices(which: &str) -> BTreeSet<u32> {
    let links = shell(&format!("ip -o link show {which}"));
    links.lines().map(|line| line.split(':').next().unwrap().parse().unwrap()).collect()
}

//! As much of rtnetlink(7) as it takes to set an interface up: requests that the kernel acknowledges, and one dump.

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;

/// Bytes of `struct nlmsghdr`.
const HEADER_LEN: usize = 16;

/// Types of messages (linux/netlink.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Flags of requests.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
/// What is there already is an error.
pub(super) const CREATE: u16 = 0x600;

/// A message while it is written: its header comes last.
#[derive(Debug)]
pub(super) struct Message {
    kind: u16,
    flags: u16,
    bytes: Vec<u8>,
}

impl Message {
    /// A message of a type (`RTM_…`) that begins with a structure. Numbers are the machine's own.
    pub(super) fn new(kind: u16, flags: u16, structure: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_LEN];
        bytes.extend(structure);
        Self { kind, flags, bytes }
    }

    /// Adds an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self, flags: u16) -> Vec<u8> {
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[4..6].copy_from_slice(&self.kind.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&(self.flags | flags).to_ne_bytes());
        self.bytes
    }
}

/// A socket to the kernel.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    /// # Errors
    /// socket(2)'s.
    pub(super) fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is 0.
            None,
        )?;
        Ok(Self(socket))
    }

    /// Asks for something and waits until it is done.
    ///
    /// # Errors
    /// The kernel's answer.
    pub(super) fn ask(&self, message: Message) -> io::Result<()> {
        rustix::net::send(&self.0, &message.finish(REQUEST | ACKNOWLEDGE), SendFlags::empty())?;
        self.answers(|_, _| {})
    }

    /// Asks for all objects of a kind and calls `each` with the type and the bytes of each message.
    ///
    /// # Errors
    /// The kernel's answer.
    pub(super) fn dump(&self, message: Message, each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        rustix::net::send(&self.0, &message.finish(REQUEST | DUMP), SendFlags::empty())?;
        self.answers(each)
    }

    /// Reads messages to the one that ends the answer.
    fn answers(&self, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        // As much as the kernel puts into one datagram of a dump.
        let mut buffer = vec![0; 32 << 10];
        loop {
            let (count, _) = rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = &buffer[..count];
            while let Some((kind, body, next)) = split_message(rest) {
                match kind {
                    DONE | ERROR => return acknowledged(body),
                    kind => each(kind, body),
                }
                rest = next;
            }
        }
    }
}

/// Splits the first message off: its type, what follows its header, and the rest.
fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    let body = bytes.get(HEADER_LEN..len)?;
    Some((kind, body, bytes.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

/// What ends an answer begins with an error number, negative, or 0.
fn acknowledged(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map_or(-libc::EPROTO, |code| i32::from_ne_bytes(*code)) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// The attributes in bytes: type and value.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, c, d] = *bytes.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_and_read() {
        let message = Message::new(16, CREATE, &[1, 2, 3, 4]).attribute(3, b"eth0\0").attribute(4, &[9; 4]);
        let bytes = message.finish(REQUEST);
        assert_eq!(bytes.len(), 16 + 4 + 12 + 8);
        assert_eq!(bytes[..8], [40, 0, 0, 0, 16, 0, 1, 6]);
        let twice = [&bytes[..], &bytes].concat();
        let (kind, body, rest) = split_message(&twice).unwrap();
        assert_eq!((kind, rest), (16, &bytes[..]));
        let found: Vec<_> = attributes(&body[4..]).collect();
        assert_eq!(found, [(3, &b"eth0\0"[..]), (4, &[9; 4])]);
    }

    #[test]
    fn what_is_cut_off_ends_the_reading() {
        let bytes = Message::new(16, 0, &[0; 16]).attribute(3, b"eth0").finish(0);
        for len in 0..bytes.len() {
            assert!(split_message(&bytes[..len]).is_none(), "{len}");
        }
        assert_eq!(attributes(&[8, 0, 1, 0, 1, 2]).count(), 0);
        assert_eq!(attributes(&[2, 0, 1, 0, 1, 2]).count(), 0);
        assert!(acknowledged(&[]).is_err());
        assert_eq!(acknowledged(&(-17i32).to_ne_bytes()).unwrap_err().raw_os_error(), Some(17));
        assert!(acknowledged(&[0; 20]).is_ok());
    }
}

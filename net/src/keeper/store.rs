//! What outlives a keeper that is killed: a process that keeps descriptors and bytes for it, by a key, and starts the next one
//! with them. It looks into nothing of it; the keeper is the only one who talks to it.
//!
//! Each message is a packet: what to do, the key, and bytes; with it may come a descriptor (SCM_RIGHTS).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The longest packet in bytes.
const MAX_PACKET: usize = 128 << 10;
/// The most entries: pods, and what the network itself keeps.
const MOST: usize = 2048;
/// A keeper that ends sooner is started again after a pause.
const SOON: Duration = Duration::from_secs(1);
/// So often: then the network is left as it is, for the next pod's start to clear away.
const MOST_FAILURES: u32 = 5;

/// What a packet says.
const PUT: u8 = 0;
const REMOVE: u8 = 1;
/// The keeper has undone everything, or the store has told everything.
const END: u8 = 2;

/// The keys of what the network itself keeps. Those of pods are their numbers behind them.
pub(super) const LOCK: u64 = 0;
pub(super) const NAMESPACE: u64 = 1;
pub(super) const FIRST_POD: u64 = 2;

/// What was kept by a key: a descriptor and bytes.
pub(super) type Entries = BTreeMap<u64, (Option<OwnedFd>, Vec<u8>)>;

/// The keeper's end.
#[derive(Debug)]
pub(super) struct Store {
    socket: OwnedFd,
    /// Where this keeper has started it.
    child: RefCell<Option<Child>>,
}

impl Store {
    /// Starts a store for the network in that directory.
    pub(super) fn start(dir: &Path) -> io::Result<Self> {
        let (near, far) = pair()?;
        let mut command = this_program("--store", dir);
        command.stdin(far).stdout(Stdio::null());
        Ok(Self { socket: near, child: RefCell::new(Some(command.spawn()?)) })
    }

    /// Takes over from a keeper that was killed, as a process that a store has started.
    pub(super) fn resume() -> io::Result<(Self, Entries)> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        let mut entries = Entries::new();
        while take(&socket, &mut entries)? == Some(PUT) {}
        Ok((Self { socket, child: RefCell::new(None) }, entries))
    }

    /// Keeps bytes by a key, and a descriptor; without one that which is there stays.
    pub(super) fn put(&self, key: u64, descriptor: Option<BorrowedFd<'_>>, bytes: &[u8]) {
        if let Err(error) = send(&self.socket, PUT, key, descriptor, bytes) {
            eprintln!("what the network has is not kept for a keeper after this one: {error}");
        }
    }

    /// Forgets a key.
    pub(super) fn remove(&self, key: u64) {
        let _ = send(&self.socket, REMOVE, key, None, &[]);
    }

    /// Ends the store: there is nothing to be kept any more.
    pub(super) fn end(&self) {
        let _ = send(&self.socket, END, 0, None, &[]);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}

/// Is the store of the network in that directory, whose keeper is at standard input, until a keeper ends in order.
///
/// # Errors
/// The next keeper cannot be started.
pub fn keep(dir: &Path) -> io::Result<()> {
    super::close::inherited()?;
    let _ = rustix::thread::set_name(c"cradle-store");
    let mut socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    let mut entries = Entries::new();
    let mut child: Option<Child> = None;
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        while let Ok(Some(what)) = take(&socket, &mut entries) {
            if what == END {
                return Ok(());
            }
        }
        // It was killed. Whoever started this process has gone with it; the later ones are its children.
        if let Some(mut child) = child.take() {
            let _ = child.kill();
            let _ = child.wait();
            failures = if begun.elapsed() < SOON { failures + 1 } else { 0 };
            if failures > MOST_FAILURES {
                return Err(io::Error::other("it ends at once, again and again"));
            }
            std::thread::sleep(SOON * failures);
        }
        eprintln!("the network's keeper was killed and is started again");
        let (near, far) = pair()?;
        let mut command = this_program("--resume", dir);
        child = Some(command.stdin(far).stdout(Stdio::null()).spawn()?);
        for (key, (descriptor, bytes)) in &entries {
            let _ = send(&near, PUT, *key, descriptor.as_ref().map(OwnedFd::as_fd), bytes);
        }
        let _ = send(&near, END, 0, None, &[]);
        socket = near;
    }
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// This program once more.
fn this_program(verb: &str, dir: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("kcradle").args([super::VERB, verb]).arg(dir).env_clear().env("PATH", super::PATH);
    command
}

fn send(
    socket: &OwnedFd,
    what: u8,
    key: u64,
    descriptor: Option<BorrowedFd<'_>>,
    bytes: &[u8],
) -> io::Result<()> {
    if bytes.len() > MAX_PACKET {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptor.into_iter().collect();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let key = key.to_le_bytes();
    let parts = [IoSlice::new(std::slice::from_ref(&what)), IoSlice::new(&key), IoSlice::new(bytes)];
    sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes a packet and does what it says; `None` at the end of the connection.
fn take(socket: &OwnedFd, entries: &mut Entries) -> io::Result<Option<u8>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut packet = vec![0; 9 + MAX_PACKET];
    let mut parts = [IoSliceMut::new(&mut packet)];
    let received = loop {
        match recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?,
        }
    };
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptor = descriptors.last();
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    packet.truncate(received.bytes);
    let Some((&[what, ref key @ ..], bytes)) = packet.split_first_chunk::<9>() else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let key = u64::from_le_bytes(*key);
    match what {
        PUT if received.flags.contains(ReturnFlags::TRUNC) => return Err(io::ErrorKind::InvalidData.into()),
        PUT if entries.len() < MOST || entries.contains_key(&key) => {
            let entry = entries.entry(key).or_default();
            entry.0 = descriptor.or(entry.0.take());
            entry.1 = bytes.to_vec();
        }
        REMOVE => drop(entries.remove(&key)),
        _ => {}
    }
    Ok(Some(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_there_until_it_is_removed() {
        let (near, far) = pair().unwrap();
        let mut entries = Entries::new();
        let null = std::fs::File::open("/dev/null").unwrap();
        send(&near, PUT, 2, Some(null.as_fd()), b"first").unwrap();
        send(&near, PUT, 2, None, b"second").unwrap();
        send(&near, PUT, 3, None, b"third").unwrap();
        send(&near, REMOVE, 3, None, b"").unwrap();
        send(&near, END, 0, None, b"").unwrap();
        let taken: Vec<_> = (0..5).map(|_| take(&far, &mut entries).unwrap().unwrap()).collect();
        assert_eq!(taken, [PUT, PUT, PUT, REMOVE, END]);
        assert_eq!(entries.len(), 1);
        let (descriptor, bytes) = &entries[&2];
        assert!(descriptor.is_some() && bytes == b"second");
        drop(near);
        assert_eq!(take(&far, &mut entries).unwrap(), None);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let (near, far) = pair().unwrap();
        let mut entries: Entries = (0..MOST as u64).map(|key| (key, (None, Vec::new()))).collect();
        send(&near, PUT, u64::MAX, None, b"x").unwrap();
        take(&far, &mut entries).unwrap();
        assert!(!entries.contains_key(&u64::MAX));
        assert!(send(&near, PUT, 0, None, &vec![0; MAX_PACKET + 1]).is_err());
        rustix::net::send(&near, b"short", SendFlags::empty()).unwrap();
        assert!(take(&far, &mut entries).is_err());
    }
}

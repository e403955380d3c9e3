//! The network device as a driver sees it, with a socket in the tap's place: each message is a frame.

mod hostile;
mod plugging;
mod queues;
mod receiving;
mod sending;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

use super::header::HEADER_LEN;
use super::*;
use crate::virtio::harness::{DeviceHarness, Part};

pub(super) const MAC: [u8; 6] = [2, 0x42, 0xac, 0x11, 0, 2];
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
pub(super) const ADDRESS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const MTU: u16 = 1500;

/// Queues of a device with one pair.
const RX: usize = 0;
const TX: usize = 1;

/// Where tests have their buffers.
const DATA: u64 = 0x80_0000;

pub(super) fn config(queues: Vec<OwnedFd>) -> NetConfig {
    let mac = MacAddress::new(MAC).unwrap();
    NetConfig { queues, mac, mtu: MTU, addresses: vec![ADDRESS.into(), ADDRESS6.into()] }
}

/// The other end of a tap.
pub(super) struct Wire(OwnedFd);

impl Wire {
    fn pair() -> (OwnedFd, Self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (device, wire) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
        (device, Self(wire))
    }

    fn put(&self, frame: &[u8]) {
        assert_eq!(send(&self.0, frame, SendFlags::empty()).unwrap(), frame.len());
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 1 << 17];
        let (len, _) = recv(&self.0, &mut bytes[..], RecvFlags::empty()).ok()?;
        bytes.truncate(len);
        Some(bytes)
    }
}

/// A device with so many queues, its driver's harness before any negotiation, and the other ends.
fn device(queues: usize) -> (DeviceHarness, Vec<Wire>) {
    let (taps, wires) = (0..queues).map(|_| Wire::pair()).unzip();
    let mut net = Net::unplugged(queues, Cable::default());
    net.port = Some(connect(config(taps)).unwrap());
    (DeviceHarness::new(Box::new(net)), wires)
}

#[expect(clippy::unnecessary_wraps, reason = "in the place of one that may fail")]
fn connect(config: NetConfig) -> Result<Port, TapError> {
    Ok(Port::on(config, feature::HOST_USO, |_, _| Ok(())))
}

/// A device with one pair of queues whose driver has taken these features.
fn started(features: u64) -> (DeviceHarness, Wire) {
    let (mut harness, mut wires) = device(1);
    harness.start(features);
    (harness, wires.pop().unwrap())
}

/// A header that asks for nothing.
const PLAIN: [u8; HEADER_LEN] = [0; HEADER_LEN];

/// A UDP packet of the pod in IPv4, its payload repeating a byte, in a frame of `len` bytes.
fn frame(len: usize, byte: u8) -> Vec<u8> {
    let mut frame = vec![byte; len];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&MAC);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14..34].fill(0);
    frame[14] = 0x45;
    frame[23] = 17;
    frame[26..30].copy_from_slice(&ADDRESS.octets());
    frame
}

fn message(header: &[u8], frame: &[u8]) -> Vec<u8> {
    [header, frame].concat()
}

/// Sends a message and answers what the tap got.
fn sent(harness: &mut DeviceHarness, wire: &Wire, message: &[u8]) -> Option<Vec<u8>> {
    harness.add(TX, &[Part::Out(DATA, message)]);
    harness.kick(TX);
    assert_eq!(harness.used(TX).map(|used| used.len), Some(0));
    wire.take()
}

//! The socket device under a fake driver: [`Guest`] speaks packets, the tests hold the host's ends.

mod connecting;
mod flow;
mod hostile;
mod shutdown;

use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use super::header::{self, Header, STREAM, op};
use super::{RX, TX, Vsock, VsockConfig};
use crate::virtio::harness::{DeviceHarness, Part};

/// The host port that the guest may connect to in these tests, and the guest port behind the listener.
const HOST_PORT: u32 = 2;
const GUEST_PORT: u32 = 1;
/// The guest's port of its connection to [`HOST_PORT`].
const EPHEMERAL: u32 = 5000;

/// Receive buffers are 4 KiB from here, packets to send are put behind.
const RX_AREA: u64 = 0x40_0000;
const RX_LEN: u32 = 4096;
const TX_AREA: u64 = 0x80_0000;

/// A guest that follows the protocol as far as a test lets it.
struct Guest {
    harness: DeviceHarness,
    /// Bytes of buffer that the guest says it has for each connection.
    buf_alloc: u32,
    /// Bytes of each connection that the guest says it has consumed.
    fwd_cnt: u32,
    next_rx: u64,
    next_tx: u64,
}

/// A device with one listener and one host port: the guest, the listener's path, the host port's far end.
fn device(hold: Duration) -> (Guest, tempfile::TempDir, UnixStream) {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
    let (far, near) = UnixStream::pair().unwrap();
    far.set_nonblocking(true).unwrap();
    let config = VsockConfig::new(vec![(listener, GUEST_PORT)], vec![(HOST_PORT, near)]).unwrap();
    let device = Vsock::new(VsockConfig { hold, ..config });
    (Guest::new(DeviceHarness::new(Box::new(device))), dir, far)
}

/// A device whose driver has given receive buffers.
fn started() -> (Guest, tempfile::TempDir, UnixStream) {
    let (mut guest, dir, far) = device(Duration::from_secs(60));
    guest.start();
    (guest, dir, far)
}

/// As [`started`], with the guest connected to the host port.
fn connected() -> (Guest, UnixStream) {
    let (mut guest, _dir, far) = started();
    guest.connect();
    (guest, far)
}

fn connect(dir: &tempfile::TempDir) -> UnixStream {
    let stream = UnixStream::connect(dir.path().join("sock")).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

impl Guest {
    fn new(harness: DeviceHarness) -> Self {
        Self { harness, buf_alloc: 1 << 20, fwd_cnt: 0, next_rx: 0, next_tx: 0 }
    }

    fn start(&mut self) {
        self.harness.start(u64::MAX);
        for _ in 0..64 {
            self.give_buffer();
        }
        self.harness.kick(RX);
    }

    fn give_buffer(&mut self) {
        let address = RX_AREA + self.next_rx % 128 * u64::from(RX_LEN);
        self.next_rx += 1;
        self.harness.add(RX, &[Part::In(address, RX_LEN)]);
    }

    /// The next packet of the device, if one is there.
    fn packet(&mut self) -> Option<(Header, Vec<u8>)> {
        let used = self.harness.used(RX)?;
        let address = RX_AREA + u64::from(used.head) % 128 * u64::from(RX_LEN);
        let bytes = self.harness.bytes(address, used.len as usize);
        self.give_buffer();
        let (head, data) = bytes.split_first_chunk().expect("a whole header");
        let header = Header::decode(head);
        assert_eq!(header.len as usize, data.len());
        assert_eq!((header.src_cid, header.dst_cid, header.kind), (2, 3, STREAM));
        Some((header, data.to_vec()))
    }

    /// The next packet, after giving the device a turn if there is none.
    fn expect(&mut self, op: u16) -> (Header, Vec<u8>) {
        let packet = self.packet().or_else(|| {
            self.harness.kick(RX);
            self.packet()
        });
        let packet = packet.unwrap_or_else(|| panic!("no packet, {op} is due"));
        assert_eq!(packet.0.op, op, "{:?}", packet.0);
        packet
    }

    fn expect_nothing(&mut self) {
        self.harness.kick(RX);
        let packet = self.packet();
        assert!(packet.is_none(), "{packet:?}");
    }

    /// A header from the guest's port to the host's.
    fn header(&self, guest_port: u32, host_port: u32, op: u16) -> Header {
        Header {
            src_cid: 3,
            dst_cid: 2,
            src_port: guest_port,
            dst_port: host_port,
            kind: STREAM,
            op,
            buf_alloc: self.buf_alloc,
            fwd_cnt: self.fwd_cnt,
            ..Header::default()
        }
    }

    /// Puts a packet into the transmit queue, without a kick.
    fn queue(&mut self, header: &Header, data: &[u8]) {
        let address = TX_AREA + self.next_tx % 64 * 0x1_2000;
        self.next_tx += 1;
        let head = header.encode();
        let parts = [Part::Out(address, &head), Part::Out(address + 64, data)];
        self.harness.add(TX, if data.is_empty() { &parts[..1] } else { &parts });
    }

    fn send_raw(&mut self, header: &Header, data: &[u8]) {
        self.queue(header, data);
        self.harness.kick(TX);
        while self.harness.used(TX).is_some() {}
    }

    /// Sends a packet of the connection to [`HOST_PORT`].
    fn send(&mut self, op: u16, flags: u32, data: &[u8]) {
        let len = u32::try_from(data.len()).unwrap();
        let header = Header { flags, len, ..self.header(EPHEMERAL, HOST_PORT, op) };
        self.send_raw(&header, data);
    }

    /// Opens the connection to [`HOST_PORT`].
    fn connect(&mut self) {
        self.send(op::REQUEST, 0, &[]);
        let (response, _) = self.expect(op::RESPONSE);
        assert_eq!((response.src_port, response.dst_port), (HOST_PORT, EPHEMERAL));
        assert!(response.buf_alloc > 0);
    }

    /// Answers a packet of the device on its connection.
    fn answer(&mut self, to: &Header, op: u16, flags: u32, data: &[u8]) {
        let len = u32::try_from(data.len()).unwrap();
        let header = Header { flags, len, ..self.header(to.dst_port, to.src_port, op) };
        self.send_raw(&header, data);
    }
}

/// Reads what is there, at most to the end: the bytes, and whether the end was reached.
fn read_all(stream: &mut UnixStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => (bytes, true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => (bytes, false),
        Err(error) => panic!("{error}"),
    }
}

/// Bytes that differ by their place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from((index ^ index >> 8 ^ index >> 16) & 0xff).unwrap()).collect()
}

#[test]
fn the_guest_learns_its_address() {
    let (mut guest, _dir, _far) = device(Duration::ZERO);
    assert_eq!(guest.harness.config(8), 3u64.to_le_bytes());
    assert_eq!(header::LEN, 44);
}

//! Linux's driver on a network device over a real tap, in a network namespace of the test's own. Its init sends frames
//! with other sources, one with its own, and a stream.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use spec::MacAddress;
use spec::Stage;
use spec::boot::STAGE_PORT;
use vmm::devices::net::NetConfig;
use vmm::{InitrdPart, VmConfig, VmExit};

use crate::asm::{Code, initramfs};
use crate::linux::kernel;
use crate::{content, start};

const SYS_READ: u32 = 0;
const SYS_WRITE: u32 = 1;
const SYS_IOCTL: u32 = 16;
const SYS_SOCKET: u32 = 41;
const SYS_CONNECT: u32 = 42;
const SYS_BIND: u32 = 49;
const SYS_IOPL: u32 = 172;

/// Requests of netdevice(7).
const SIOCSIFFLAGS: u32 = 0x8914;
const SIOCSIFADDR: u32 = 0x8916;
const SIOCSIFNETMASK: u32 = 0x891c;

const MAC: [u8; 6] = [2, 0x42, 10, 9, 0, 2];
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const PORT: u16 = 7007;

/// Bytes of the stream.
const STREAM: u32 = 60_000;

/// Bytes of the longest packet, and of the longest frame of one packet.
const MTU: u16 = 1500;
const PACKET: usize = MTU as usize + 14;

/// Where the init is, and where it keeps data.
const ADDRESS: u64 = 0x40_0000;
const DATA: u32 = 0x40_4000;
const ROOM: u64 = 0x2_0000;

/// `struct sockaddr_in`.
fn socket_address(address: Ipv4Addr) -> Vec<u8> {
    [&[2, 0][..], &PORT.to_be_bytes(), &address.octets(), &[0; 8]].concat()
}

/// `struct ifreq` of eth0.
fn interface_request(value: &[u8]) -> Vec<u8> {
    [b"eth0\0\0\0\0\0\0\0\0\0\0\0\0", value, &[0; 24][value.len().min(24)..]].concat()
}

/// A UDP packet to the host in a frame.
fn frame(mac: [u8; 6], source: Ipv4Addr, text: &[u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(source.octets());
    packet.extend(HOST.octets());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&(!folded).to_be_bytes());
    let udp = [PORT.to_be_bytes(), PORT.to_be_bytes(), 12u16.to_be_bytes(), [0, 0]].concat();
    [&[0xff; 6], &mac[..], &[8, 0], &packet, &udp, text].concat()
}

fn init() -> Code {
    let [requests, target, link, frames, stream] =
        [0, 0x100, 0x140, 0x200, 0x1000].map(|offset| DATA + offset);
    // `struct sockaddr_ll` of the second interface.
    let place = [&[17, 0, 3, 0, 2, 0, 0, 0][..], &[0; 12]].concat();
    let mut code = Code::default()
        .system_call(SYS_IOPL, [3, 0, 0])
        .store_bytes(requests, &interface_request(&socket_address(GUEST)))
        .store_bytes(requests + 64, &interface_request(&socket_address(Ipv4Addr::new(255, 255, 255, 0))))
        .store_bytes(requests + 128, &interface_request(&0x41u16.to_le_bytes()))
        .store_bytes(target, &socket_address(HOST))
        .store_bytes(link, &place)
        .system_call(SYS_SOCKET, [2, 1, 0])
        .system_call(SYS_IOCTL, [0, SIOCSIFADDR, requests])
        .system_call(SYS_IOCTL, [0, SIOCSIFNETMASK, requests + 64])
        .system_call(SYS_IOCTL, [0, SIOCSIFFLAGS, requests + 128])
        .system_call(SYS_SOCKET, [17, 3, 0x300])
        .system_call(SYS_BIND, [1, link, 20]);
    let other = [2, 0x42, 10, 9, 0, 3];
    let sent = [
        frame(MAC, Ipv4Addr::new(10, 9, 0, 3), b"evil"),
        frame(other, GUEST, b"evil"),
        frame(MAC, HOST, b"evil"),
        frame(MAC, GUEST, b"good"),
    ];
    for (offset, frame) in (frames..).step_by(64).zip(sent) {
        let len = u32::try_from(frame.len()).unwrap();
        code = code.store_bytes(offset, &frame).system_call(SYS_WRITE, [1, offset, len]);
    }
    code = code
        .store_bytes(stream, b"start")
        .system_call(SYS_CONNECT, [0, target, 16])
        .system_call(SYS_WRITE, [0, stream, STREAM]);
    for _ in 0..100 {
        code = code.system_call(SYS_READ, [0, stream, STREAM]);
    }
    // What was read last.
    code.system_call(SYS_WRITE, [0, stream, 5]).out(STAGE_PORT, Stage::PowerOff as u8).hang()
}

/// Gives the calling thread a network namespace of its own.
#[expect(unsafe_code, reason = "unshare(2) of a thread has no safe wrapper")]
fn own_network() {
    // SAFETY: only this thread's network changes; no descriptors are shared or closed by it.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
}

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
}

/// Hears all frames of this thread's network.
fn listen_to_frames() -> OwnedFd {
    let all = NonZeroU32::new(libc::ETH_P_ALL.cast_unsigned().swap_bytes() >> 16).map(Protocol::from_raw);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::PACKET, SocketType::RAW, flags, all).unwrap()
}

/// The longest frames so far: from the guest, and to it.
fn longest(heard: &OwnedFd) -> [usize; 2] {
    let mut longest = [0; 2];
    let mut head = [0; 12];
    while let Ok((_, len)) = recv(heard, &mut head[..], RecvFlags::TRUNC) {
        let direction = usize::from(head[6..] != MAC);
        longest[direction] = longest[direction].max(len);
    }
    longest
}

fn check_link(vcpus: u8, queues: u8) {
    own_network();
    let (tap, queues) = vmm::tap::open("vmm%d", queues).unwrap();
    ip(&format!("address add {HOST}/24 dev {tap}"));
    ip(&format!("link set {tap} up"));
    let heard = listen_to_frames();
    let listener = TcpListener::bind((HOST, PORT)).unwrap();
    let socket = UdpSocket::bind((HOST, PORT)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();

    let console = tempfile::tempfile().unwrap();
    let config = VmConfig {
        vcpus,
        initrd: vec![InitrdPart::Bytes(initramfs("init", &init().link(ADDRESS, ROOM)))],
        early_console: Some(console.try_clone().unwrap()),
        nets: vec![NetConfig {
            queues,
            mac: MacAddress::new(MAC).unwrap(),
            mtu: MTU,
            addresses: vec![GUEST.into()],
        }],
        ..VmConfig::new(kernel())
    };
    let (_, machine) = start(config);
    let mut text = [0; 16];
    let log = || String::from_utf8_lossy(&content(&console)).into_owned();
    let (len, from) = socket.recv_from(&mut text).unwrap_or_else(|error| panic!("{error}: {}", log()));
    assert_eq!((&text[..len], from.ip()), (&b"good"[..], GUEST.into()));

    let (mut stream, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), GUEST);
    let mut got = vec![0; STREAM as usize];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got[..5], *b"start");
    // Back again, until the stream's end.
    got.fill(b'!');
    stream.write_all(&got).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_exact(&mut got[..5]).unwrap();
    assert_eq!(got[..5], *b"!!!!!");
    // How many segments a frame has is TCP's choice and the load's; that some frame has more than one is ours.
    let longest = longest(&heard);
    assert!(longest.iter().all(|len| *len > PACKET), "frames of at most {longest:?} bytes: {}", log());
    assert_eq!(machine.join().unwrap().unwrap(), VmExit::PowerOff, "{}", log());
}

#[test]
fn linux_talks_through_a_tap_from_its_own_address_alone() {
    check_link(1, 1);
}

#[test]
fn linux_talks_through_two_pairs_of_queues() {
    check_link(2, 2);
}

//! The file system device between a fake driver and a fake backend, which is a thread at the other end of the socket.

use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use vm_memory::GuestMemoryBackend as _;

use super::*;
use crate::bus::INTERRUPT_ACK_OFFSET;
use crate::memory::allocate_shared;
use crate::virtio::harness::DeviceHarness;
use crate::virtio::harness::register;
use crate::virtio::status;

/// Requests by number (the vhost-user protocol's table of front-end messages).
const GET_FEATURES: u32 = 1;
const SET_FEATURES: u32 = 2;
const SET_OWNER: u32 = 3;
const SET_MEM_TABLE: u32 = 5;
const SET_VRING_NUM: u32 = 8;
const SET_VRING_ADDR: u32 = 9;
const SET_VRING_BASE: u32 = 10;
const GET_VRING_BASE: u32 = 11;
const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;
const GET_PROTOCOL_FEATURES: u32 = 15;
const SET_PROTOCOL_FEATURES: u32 = 16;
const GET_QUEUE_NUM: u32 = 17;
const SET_VRING_ENABLE: u32 = 18;

/// Bit of the virtio features that stands for protocol features; bit of those for several queues.
const PROTOCOL: u64 = 1 << 30;
const MQ: u64 = 1;
const GOOD: u64 = feature::VERSION_1 | feature::EVENT_IDX | feature::INDIRECT_DESC | PROTOCOL;

/// A request as the backend has received it.
#[derive(Debug)]
struct Request {
    number: u32,
    body: Vec<u8>,
    files: Vec<OwnedFd>,
}

impl Request {
    fn word(&self, index: usize) -> u64 {
        u64::from_le_bytes(self.body[8 * index..8 * index + 8].try_into().unwrap())
    }
}

/// What the backend answers to a request that wants a number; `None`: it hangs up.
type Answer = fn(u32) -> Option<u64>;

fn good(request: u32) -> Option<u64> {
    match request {
        GET_FEATURES => Some(GOOD),
        GET_PROTOCOL_FEATURES => Some(MQ),
        GET_QUEUE_NUM => Some(2),
        _ => Some(0),
    }
}

struct FakeBackend {
    requests: Receiver<Request>,
    thread: JoinHandle<()>,
    /// A descriptor of the backend's socket: to shut it down is the backend's death.
    socket: UnixStream,
}

impl FakeBackend {
    fn start(answer: Answer) -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (sender, requests) = mpsc::channel();
        let socket = theirs.try_clone().unwrap();
        let thread = std::thread::spawn(move || serve(theirs, answer, &sender));
        (Self { requests, thread, socket }, ours)
    }

    fn die(&self) {
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
    }

    /// The next request, which must have that number.
    fn expect(&self, number: u32) -> Request {
        let request = self.requests.recv().unwrap();
        assert_eq!(request.number, number, "{request:?}");
        request
    }
}

fn serve(mut stream: UnixStream, answer: Answer, to: &Sender<Request>) {
    while let Some(request) = receive(&stream) {
        let number = request.number;
        let answers = [GET_FEATURES, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_VRING_BASE].contains(&number);
        let body = request.body.clone();
        to.send(request).unwrap();
        if answers {
            let Some(value) = answer(number) else { break };
            // A queue's answer has its index before its number.
            let value = if number == GET_VRING_BASE { body } else { value.to_le_bytes().to_vec() };
            let header = [number, 0b101, 8].map(u32::to_le_bytes).concat();
            if stream.write_all(&[header, value].concat()).is_err() {
                break;
            }
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

/// Reads a request with its descriptors; `None` at the end of the stream.
fn receive(stream: &UnixStream) -> Option<Request> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut files = Vec::new();
    let mut read = |buffer: &mut [u8]| {
        let mut filled = 0;
        while filled < buffer.len() {
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let part = &mut [IoSliceMut::new(&mut buffer[filled..])];
            let count = recvmsg(stream, part, &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?.bytes;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = message {
                    files.extend(received);
                }
            }
            if count == 0 {
                return None;
            }
            filled += count;
        }
        Some(())
    };
    let mut header = [0; 12];
    read(&mut header)?;
    let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    let mut body = vec![0; field(8) as usize];
    read(&mut body)?;
    Some(Request { number: field(0), body, files })
}

fn connect(answer: Answer) -> (FakeBackend, Result<(Fs, GuestMemory), BackendError>) {
    let memory = allocate_shared(64).unwrap();
    let (backend, stream) = FakeBackend::start(answer);
    let config = FsConfig { tag: "share0".to_owned(), backend: stream };
    (backend, Fs::connect(config, &memory).map(|device| (device, memory)))
}

/// A device whose driver is not started, and a backend that it has made acquaintance with.
fn connected() -> (FakeBackend, DeviceHarness) {
    let (backend, device) = connect(good);
    let (device, memory) = device.unwrap();
    for number in [GET_FEATURES, GET_PROTOCOL_FEATURES] {
        backend.expect(number);
    }
    assert_eq!(backend.expect(SET_PROTOCOL_FEATURES).word(0), MQ);
    backend.expect(GET_QUEUE_NUM);
    backend.expect(SET_OWNER);
    let table = backend.expect(SET_MEM_TABLE);
    assert_eq!(table.files.len(), 1);
    let region = memory.find_region(vm_memory::GuestAddress(0)).unwrap();
    // Count and padding; then address, length, address in this process, offset in the file.
    let expected = [1, 0, 64 << 20, region.as_ptr() as u64, 0];
    assert_eq!([0, 1, 2, 3, 4].map(|index| table.word(index)), expected);
    (backend, DeviceHarness::on(memory, Box::new(device)))
}

/// The notification and the interrupt of a queue, as the backend gets them.
struct Given {
    kick: OwnedFd,
    call: OwnedFd,
}

/// What the backend is told when the driver is ready.
fn expect_start(backend: &FakeBackend, harness: &DeviceHarness) -> Vec<Given> {
    assert_eq!(backend.expect(SET_FEATURES).word(0), GOOD);
    let base = harness.memory.get_host_address(vm_memory::GuestAddress(0)).unwrap() as u64;
    let given = |(index, queue): (usize, &crate::virtio::harness::DriverQueue)| {
        let state = |number| u64::from(u32::try_from(index).unwrap()) | number << 32;
        assert_eq!(backend.expect(SET_VRING_NUM).word(0), state(u64::from(queue.size)));
        assert_eq!(backend.expect(SET_VRING_BASE).word(0), state(0));
        let address = backend.expect(SET_VRING_ADDR);
        let rings = [queue.descriptors, queue.used, queue.available].map(|ring| base + ring);
        assert_eq!([1, 2, 3].map(|word| address.word(word)), rings);
        let call = backend.expect(SET_VRING_CALL).files.pop().unwrap();
        let kick = backend.expect(SET_VRING_KICK).files.pop().unwrap();
        assert_eq!(backend.expect(SET_VRING_ENABLE).word(0), state(1));
        Given { kick, call }
    };
    harness.queues.iter().enumerate().map(given).collect()
}

#[test]
fn the_driver_finds_tag_and_one_request_queue() {
    let (_backend, mut harness) = connected();
    let config = harness.config(40);
    assert_eq!(config[..6], *b"share0");
    assert_eq!(config[6..36], [0; 30]);
    assert_eq!(config[36..], [1, 0, 0, 0]);
    for (queue, size) in [(0, 128), (1, 1024), (2, 0)] {
        harness.write(register::QUEUE_SEL, queue);
        assert_eq!(harness.read(register::QUEUE_SIZE_MAX), size);
    }
}

#[test]
fn the_backend_hears_notifications_and_raises_interrupts_by_itself() {
    let (backend, mut harness) = connected();
    harness.start(u64::MAX);
    let given = expect_start(&backend, &harness);
    let mut count = [0; 8];
    for (queue, Given { kick, call }) in (0..).zip(&given) {
        harness.write(crate::bus::QUEUE_NOTIFY_OFFSET, queue);
        // This process has not taken it.
        harness.run();
        assert_eq!(rustix::io::read(kick, &mut count), Ok(8));
        assert!(rustix::io::read(kick, &mut count).is_err(), "another queue's");
        rustix::io::write(call, &1u64.to_ne_bytes()).unwrap();
        assert!(harness.interrupted());
        assert_eq!(harness.read(register::INTERRUPT_STATUS), 1);
        harness.write(INTERRUPT_ACK_OFFSET, 1);
    }
}

#[test]
fn a_reset_takes_the_queues_back_and_the_driver_can_start_again() {
    let (backend, mut harness) = connected();
    for _ in 0..3 {
        harness.start(u64::MAX);
        expect_start(&backend, &harness);
        harness.reset();
        for queue in 0..2 {
            assert_eq!(backend.expect(GET_VRING_BASE).word(0), queue);
        }
    }
    assert!(!harness.needs_reset());
}

#[test]
fn the_backends_death_is_the_drivers_to_mend() {
    let (backend, mut harness) = connected();
    harness.start(u64::MAX);
    expect_start(&backend, &harness);
    assert!(!harness.needs_reset());
    backend.die();
    backend.thread.join().unwrap();
    harness.run();
    assert!(harness.needs_reset() && harness.interrupted());
    // It stays dead, and nobody waits for it.
    harness.reset();
    harness.start(u64::MAX);
    assert!(harness.needs_reset());
    harness.reset();
    assert!(!harness.needs_reset());
}

#[test]
fn a_driver_with_queues_out_of_memory_is_not_the_backends_concern() {
    let (backend, mut harness) = connected();
    for broken in [u64::MAX - 0xfff, (64 << 20) - 16, 1 << 40] {
        harness.negotiate(u64::MAX);
        for index in 0..2 {
            harness.write(register::QUEUE_SEL, index);
            harness.write(register::QUEUE_SIZE, 64);
            harness.write_address(register::QUEUE_DESC_LOW, 0x1_0000);
            harness.write_address(register::QUEUE_DRIVER_LOW, 0x2_0000);
            harness.write_address(register::QUEUE_DEVICE_LOW, broken);
            harness.write(register::QUEUE_READY, 1);
            assert_eq!(harness.read(register::QUEUE_READY), 0);
        }
        harness.set_status(status::DRIVER_OK);
        harness.run();
        assert!(harness.needs_reset());
        harness.reset();
    }
    // One queue left out.
    harness.negotiate(u64::MAX);
    harness.set_status(status::DRIVER_OK);
    harness.run();
    assert!(harness.needs_reset());
    harness.reset();
    assert!(backend.requests.try_recv().is_err());
    harness.start(u64::MAX);
    expect_start(&backend, &harness);
}

#[test]
fn what_is_no_backend_of_files_is_refused() {
    let answers: [(Answer, &str); 6] = [
        (|_| None, "fails at GET_FEATURES"),
        (|request| (request != GET_QUEUE_NUM).then(|| good(request)).flatten(), "fails at GET_QUEUE_NUM"),
        (|_| Some(0), "lacks features of virtio 1"),
        (|_| Some(GOOD & !PROTOCOL), "lacks protocol features"),
        (|request| if request == GET_FEATURES { Some(GOOD) } else { Some(0) }, "lacks several queues"),
        (|request| if request == GET_QUEUE_NUM { Some(1) } else { good(request) }, "lacks several queues"),
    ];
    for (answer, words) in answers {
        let (_backend, device) = connect(answer);
        let Err(error) = device else { panic!("accepted: {words}") };
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    let memory = crate::memory::allocate(64).unwrap();
    let (_backend, stream) = FakeBackend::start(good);
    let private = Fs::connect(FsConfig { tag: "a".to_owned(), backend: stream }, &memory);
    assert!(matches!(private, Err(BackendError::PrivateMemory(_))));
    for tag in [String::new(), "t".repeat(37), "a\0b".to_owned()] {
        let (_backend, stream) = FakeBackend::start(good);
        assert!(matches!(
            Fs::connect(FsConfig { tag, backend: stream }, &memory),
            Err(BackendError::Tag { .. })
        ));
    }
}

#[test]
fn garbage_for_an_answer_is_refused() {
    for garbage in [&b"x"[..], &[0xff; 12], &[0; 20], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0xff; 4096]] {
        let memory = allocate_shared(64).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(garbage).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let device = Fs::connect(FsConfig { tag: "a".to_owned(), backend: ours }, &memory);
        assert!(matches!(device, Err(BackendError::Request { request: "GET_FEATURES", .. })));
    }
}

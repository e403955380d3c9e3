//! The file system device between a fake driver and a fake backend, which is a thread at the other end of the socket.

mod side;

use std::fs::File;
use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::arena::{BLOCK, BLOCKS};
use super::*;
use crate::virtio::harness::{DeviceHarness, Numbers, Part, malformed_chains, register};
use crate::virtio::status;
use side::Side;

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
const GOOD: u64 = feature::VERSION_1 | PROTOCOL;

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

fn connect(answer: Answer) -> (FakeBackend, Result<Fs, BackendError>) {
    let (backend, stream) = FakeBackend::start(answer);
    let config = FsConfig { tag: "share0".to_owned(), backend: stream };
    (backend, Fs::connect(config))
}

/// The memory that the backend was given: its file, and where it is in the device's process.
struct Common {
    file: File,
    base: u64,
}

/// A device whose driver is not started, and a backend that it has made acquaintance with.
fn connected() -> (FakeBackend, Common, DeviceHarness) {
    let (backend, device) = connect(good);
    for number in [GET_FEATURES, GET_PROTOCOL_FEATURES] {
        backend.expect(number);
    }
    assert_eq!(backend.expect(SET_PROTOCOL_FEATURES).word(0), MQ);
    backend.expect(GET_QUEUE_NUM);
    backend.expect(SET_OWNER);
    let mut table = backend.expect(SET_MEM_TABLE);
    // Count and padding; then address, length, address in this process, offset in the file.
    let [regions, start, len, base, offset] = [0, 1, 2, 3, 4].map(|index| table.word(index));
    assert_eq!((table.files.len(), regions, start, offset), (1, 1, 0, 0));
    assert_eq!(len, (u64::from(BLOCKS) + 1) * BLOCK as u64);
    let common = Common { file: File::from(table.files.pop().unwrap()), base };
    assert_eq!(common.file.metadata().unwrap().len(), len);
    (backend, common, DeviceHarness::new(Box::new(device.unwrap())))
}

/// What the backend is told when the driver is ready.
fn expect_start<'a>(backend: &FakeBackend, common: &'a Common) -> [Side<'a>; 2] {
    assert_eq!(backend.expect(SET_FEATURES).word(0), GOOD);
    [0_u64, 1].map(|index| {
        let state = |number| index | number << 32;
        assert_eq!(backend.expect(SET_VRING_NUM).word(0), state(u64::from(BLOCKS)));
        assert_eq!(backend.expect(SET_VRING_BASE).word(0), state(0));
        let address = backend.expect(SET_VRING_ADDR);
        let rings = [1, 2, 3].map(|word| address.word(word) - common.base);
        let call = backend.expect(SET_VRING_CALL).files.pop().unwrap();
        let kick = backend.expect(SET_VRING_KICK).files.pop().unwrap();
        assert_eq!(backend.expect(SET_VRING_ENABLE).word(0), state(1));
        Side { common, rings, kick, call, taken: 0, answered: 0 }
    })
}

/// Where tests have their buffers.
const DATA: u64 = 0x40_0000;
const ANSWER: u64 = 0x80_0000;

/// Bytes that are not the same twice in a row.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect()
}

#[test]
fn the_driver_finds_tag_and_one_request_queue() {
    let (_backend, _common, mut harness) = connected();
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
fn requests_and_answers_are_copied() {
    let (backend, common, mut harness) = connected();
    harness.start(u64::MAX);
    let mut sides = expect_start(&backend, &common);
    let lens = [
        // request, answer
        (1, 0),
        (40, 16),
        (40, 1),
        (BLOCK, BLOCK),
        (BLOCK - 1, BLOCK + 1),
        (BLOCK + 1, 3 * BLOCK),
        (80 + (1 << 20), 24),
        (40, 16 + (1 << 20)),
    ];
    for (queue, side) in sides.iter_mut().enumerate() {
        for (request, answer) in lens {
            let (request, answer) = (pattern(request), pattern(answer));
            let mut parts = vec![Part::Out(DATA, &request[..1]), Part::Out(DATA + 0x1_0001, &request[1..])];
            if !answer.is_empty() {
                parts.push(Part::In(ANSWER, 1));
                parts.push(Part::In(ANSWER + 0x1001, u32::try_from(answer.len()).unwrap() + 5));
            }
            let head = harness.add(queue, &parts);
            harness.kick(queue);
            assert!(side.is_told());
            let taken = side.take().unwrap();
            assert_eq!(taken.request, request);
            let room: usize = taken.room.iter().map(|(_, len)| len).sum();
            assert_eq!(room, if answer.is_empty() { 0 } else { answer.len() + 6 });
            assert!(side.take().is_none() && harness.used(queue).is_none());
            side.answer(&taken, &answer);
            side.tell();
            harness.run();
            let used = harness.used(queue).unwrap();
            assert_eq!((used.head, used.len as usize), (head.into(), answer.len()));
            assert!(harness.interrupted());
            if let Some((first, rest)) = answer.split_first() {
                assert_eq!(harness.bytes(ANSWER, 1), [*first]);
                assert_eq!(harness.bytes(ANSWER + 0x1001, rest.len()), rest);
            }
        }
    }
}

#[test]
fn answers_come_in_any_order_and_no_longer_than_their_room() {
    let (backend, common, mut harness) = connected();
    harness.start(u64::MAX);
    let mut sides = expect_start(&backend, &common);
    let heads = [0u8, 1, 2].map(|byte| {
        let address = ANSWER + 0x1000 * u64::from(byte);
        harness.add(1, &[Part::Out(DATA + u64::from(byte), &[byte]), Part::In(address, 4)])
    });
    harness.memory_fill(ANSWER, 0xee);
    harness.kick(1);
    let side = &mut sides[1];
    let taken = [0, 1, 2].map(|_| side.take().unwrap());
    for index in [2u8, 0, 1] {
        assert_eq!(taken[usize::from(index)].request, [index]);
        side.answer(&taken[usize::from(index)], &[index; 100]);
    }
    side.tell();
    harness.run();
    for index in [2u8, 0, 1] {
        let used = harness.used(1).unwrap();
        assert_eq!((used.head, used.len), (heads[usize::from(index)].into(), 4));
        let [a, b, c, d, e] = harness.bytes(ANSWER + 0x1000 * u64::from(index), 5)[..] else { panic!() };
        assert_eq!([a, b, c, d, e], [index, index, index, index, 0xee]);
    }
}

#[test]
fn requests_wait_for_memory_and_none_is_lost() {
    let (backend, common, mut harness) = connected();
    harness.start(u64::MAX);
    let mut sides = expect_start(&backend, &common);
    let (mut asked, mut numbers) = (0u32, Vec::new());
    // Half of what the guest can have under way, of two blocks each.
    for _ in 0..500 {
        let number = asked.to_le_bytes();
        harness.add(1, &[Part::Out(DATA + 8 * u64::from(asked), &number), Part::In(ANSWER, 8)]);
        asked += 1;
    }
    harness.kick(1);
    // The other queue has no memory either.
    harness.add(0, &[Part::Out(DATA, b"forget")]);
    harness.kick(0);
    assert!(sides[0].take().is_none());
    while numbers.len() < 500 {
        let mut taken: Vec<_> = std::iter::from_fn(|| sides[1].take()).collect();
        assert!((1..=usize::from(BLOCKS) / 2).contains(&taken.len()));
        taken.reverse();
        for one in taken {
            numbers.push(u32::from_le_bytes(one.request.clone().try_into().unwrap()));
            sides[1].answer(&one, b"answer");
        }
        sides[1].tell();
        harness.run();
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..500));
    assert_eq!(std::iter::from_fn(|| harness.used(1)).map(|used| used.len).collect::<Vec<_>>(), [6; 500]);
    assert_eq!(sides[0].take().unwrap().request, b"forget");
    assert!(!harness.needs_reset());
}

#[test]
fn what_makes_no_sense_goes_back() {
    let (backend, common, mut harness) = connected();
    for (name, table) in malformed_chains(QUEUES[1]) {
        harness.start(u64::MAX);
        let mut sides = expect_start(&backend, &common);
        harness.offer(1, &table);
        // Some are fit for a share.
        let used = harness.used(1).map(|used| used.len);
        assert_eq!(used, if sides[1].take().is_some() { None } else { Some(0) }, "{name}");
        assert!(!harness.needs_reset(), "{name}");
        harness.reset();
        for _ in 0..2 {
            backend.expect(GET_VRING_BASE);
        }
    }
    harness.start(u64::MAX);
    let mut sides = expect_start(&backend, &common);
    // Longer than any driver asks, and nothing at all.
    harness.add(1, &[Part::In(DATA, 1 << 20), Part::In(DATA, 1 << 20), Part::In(DATA, 1)]);
    harness.add(1, &[Part::In(DATA, 0)]);
    harness.kick(1);
    assert_eq!(std::iter::from_fn(|| harness.used(1)).map(|used| used.len).collect::<Vec<_>>(), [0, 0]);
    assert!(sides[1].take().is_none() && !harness.needs_reset());
}

#[test]
fn a_backend_that_lies_loses_its_driver() {
    for (first, len) in [(1, 0), (u32::from(BLOCKS), 0), (u32::MAX, u32::MAX), (0x1_0000, 4)] {
        let (backend, common, mut harness) = connected();
        harness.start(u64::MAX);
        let mut sides = expect_start(&backend, &common);
        harness.add(1, &[Part::Out(DATA, b"x"), Part::In(ANSWER, 8)]);
        harness.kick(1);
        let side = &mut sides[1];
        let taken = side.take().unwrap();
        assert_eq!(taken.first, 0);
        side.put_used(first, len);
        side.tell();
        harness.run();
        assert!(harness.needs_reset() && harness.used(1).is_none(), "{first} {len}");
    }
    // The same answer twice, and an index that runs ahead.
    let (backend, common, mut harness) = connected();
    harness.start(u64::MAX);
    let mut sides = expect_start(&backend, &common);
    harness.add(1, &[Part::Out(DATA, b"x"), Part::In(ANSWER, 8)]);
    harness.kick(1);
    let taken = sides[1].take().unwrap();
    for _ in 0..2 {
        sides[1].answer(&taken, b"twice");
    }
    sides[1].tell();
    harness.run();
    assert!(harness.needs_reset());
}

#[test]
fn random_rings_do_no_harm() {
    let mut numbers = Numbers(1);
    for _ in 0..200 {
        let (backend, common, mut harness) = connected();
        harness.start(u64::MAX);
        let sides = expect_start(&backend, &common);
        for index in 0..8 {
            harness.add(1, &[Part::Out(DATA, b"request"), Part::In(ANSWER + 64 * index, 64)]);
        }
        harness.kick(1);
        let used = sides[1].rings[1];
        for at in 0..64 {
            let word = u32::try_from(numbers.below(20)).unwrap();
            common.file.write_all_at(&word.to_le_bytes(), used + 4 + 4 * at).unwrap();
        }
        let index = u16::try_from(numbers.below(10)).unwrap();
        common.file.write_all_at(&index.to_le_bytes(), used + 2).unwrap();
        sides[1].tell();
        harness.run();
        assert!(std::iter::from_fn(|| harness.used(1)).count() <= 8);
    }
}

#[test]
fn a_reset_takes_the_queues_back_and_the_driver_can_start_again() {
    let (backend, common, mut harness) = connected();
    for _ in 0..3 {
        harness.start(u64::MAX);
        expect_start(&backend, &common);
        harness.reset();
        for queue in 0..2 {
            assert_eq!(backend.expect(GET_VRING_BASE).word(0), queue);
        }
    }
    assert!(!harness.needs_reset());
}

#[test]
fn the_backends_death_is_the_drivers_to_mend() {
    let (backend, common, mut harness) = connected();
    harness.start(u64::MAX);
    expect_start(&backend, &common);
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
    let (backend, common, mut harness) = connected();
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
    expect_start(&backend, &common);
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
    for tag in [String::new(), "t".repeat(37), "a\0b".to_owned()] {
        let (_backend, stream) = FakeBackend::start(good);
        assert!(matches!(Fs::connect(FsConfig { tag, backend: stream }), Err(BackendError::Tag { .. })));
    }
}

#[test]
fn garbage_for_an_answer_is_refused() {
    for garbage in [&b"x"[..], &[0xff; 12], &[0; 20], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0xff; 4096]] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(garbage).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let device = Fs::connect(FsConfig { tag: "a".to_owned(), backend: ours });
        assert!(matches!(device, Err(BackendError::Request { request: "GET_FEATURES", .. })));
    }
}

//! Requests of FUSE (linux/fuse.h) that no kernel would send, and the guest that sends them one after the other.

use super::CONSOLE;
use super::asm::Code;

/// Registers of a virtio device (virtio 1.3, section 4.2.2).
const DRIVER_FEATURES: u32 = 0x20;
const DRIVER_FEATURES_SEL: u32 = 0x24;
const QUEUE_SEL: u32 = 0x30;
const QUEUE_SIZE: u32 = 0x38;
const QUEUE_READY: u32 = 0x44;
const QUEUE_NOTIFY: u32 = 0x50;
const STATUS: u32 = 0x70;
const RINGS: [u32; 3] = [0x80, 0x90, 0xa0];

/// The guest's memory: rings of the two queues, and the requests with their answers.
const QUEUE_MEMORY: u32 = 0x200_0000;
const RING: u32 = QUEUE_MEMORY + 0x1_0000;
/// How many were used, in the second one's.
const USED: u32 = RING + 0x4000 + 2;
const REQUESTS: u32 = 0x300_0000;
const ROOM: u32 = 0x1000;
/// Where in that room the answer goes, and how long it may be.
const ANSWER: u32 = 0x800;
const ANSWER_LEN: u32 = 0x400;
const SIZE: u32 = 128;

const ROOT: u64 = 1;
const FORGED: u64 = 0x7fff_ffff_0000_0001;
/// What the first file that is looked up is as a rule.
const GUESSED: u64 = 2;

/// Operations.
mod op {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const SETATTR: u32 = 4;
    pub(super) const READLINK: u32 = 5;
    pub(super) const SYMLINK: u32 = 6;
    pub(super) const MKNOD: u32 = 8;
    pub(super) const MKDIR: u32 = 9;
    pub(super) const UNLINK: u32 = 10;
    pub(super) const RMDIR: u32 = 11;
    pub(super) const LINK: u32 = 13;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const WRITE: u32 = 16;
    pub(super) const SETXATTR: u32 = 21;
    pub(super) const INIT: u32 = 26;
    pub(super) const OPENDIR: u32 = 27;
    pub(super) const READDIR: u32 = 28;
    pub(super) const CREATE: u32 = 35;
    pub(super) const BATCH_FORGET: u32 = 42;
    pub(super) const READDIRPLUS: u32 = 44;
    pub(super) const RENAME2: u32 = 45;
    pub(super) const COPY_FILE_RANGE: u32 = 47;
    pub(super) const SETUPMAPPING: u32 = 48;
}

/// A request, and whether it may succeed; `None`: either way.
pub(super) struct Request {
    pub(super) name: &'static str,
    pub(super) succeeds: Option<bool>,
    bytes: Vec<u8>,
    /// Bytes that the answer may have.
    room: u32,
}

/// The header of an answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) error: i32,
}

impl Reply {
    /// The answers between the marks of [`guest`].
    pub(super) fn read(said: &[u8]) -> Vec<Self> {
        let mut replies = Vec::new();
        let mut rest = said;
        while let Some(at) = rest.windows(4).position(|mark| mark == b"<<<<") {
            let Some(error) = rest.get(at + 8..at + 12) else { break };
            replies.push(Self { error: i32::from_le_bytes(error.try_into().unwrap()) });
            rest = &rest[at + 12..];
        }
        replies
    }
}

/// A request of an operation on a node.
fn request(
    name: &'static str,
    succeeds: impl Into<Option<bool>>,
    op: u32,
    node: u64,
    body: &[u8],
) -> Request {
    let mut bytes = u32::try_from(40 + body.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(op.to_le_bytes());
    bytes.extend(7_u64.to_le_bytes());
    bytes.extend(node.to_le_bytes());
    bytes.extend([0; 16]);
    bytes.extend(body);
    Request { name, succeeds: succeeds.into(), bytes, room: ANSWER_LEN }
}

impl Request {
    /// The length in the header is another one than there are bytes.
    fn length(mut self, length: u32) -> Self {
        self.bytes[..4].copy_from_slice(&length.to_le_bytes());
        self
    }

    fn room(mut self, room: u32) -> Self {
        self.room = room;
        self
    }
}

/// Words of 32 bits, and texts behind them as they are.
fn body(words: &[u32], texts: &[&[u8]]) -> Vec<u8> {
    let words = words.iter().flat_map(|word| word.to_le_bytes());
    words.chain(texts.concat()).collect()
}

/// All that are answered one by one, in order.
pub(super) fn all() -> Vec<Request> {
    let mut all = vec![
        request("init", true, op::INIT, 0, &body(&[7, 31, 0, 0], &[])),
        request("a file of the share", true, op::LOOKUP, ROOT, b"here\0"),
        request("a link of the share", true, op::LOOKUP, ROOT, b"link\0"),
    ];
    all.extend(names());
    all.extend(nodes());
    all.push(request("a file of the share, in the end", true, op::LOOKUP, ROOT, b"here\0"));
    all
}

/// Names that lead outside, or would.
fn names() -> Vec<Request> {
    // The share's own root is above it.
    let within = ["..\0", "dir/..\0", "dir/../..\0"];
    let outside = ["../secret\0", "dir/../../secret\0", "/etc/passwd\0", "./../secret\0", "link/\0"];
    let lookup = |name: &&'static str| request(name, None, op::LOOKUP, ROOT, name.as_bytes());
    let refused =
        |name, op, words: &[u32], texts: &[&[u8]]| request(name, false, op, ROOT, &body(words, texts));
    let mut all: Vec<Request> = within.iter().map(lookup).collect();
    all.extend(outside.iter().map(|name| Request { succeeds: Some(false), ..lookup(name) }));
    // What has the share's root for its own finds nothing above it: these may be done, within the share.
    let either =
        |name, op, words: &[u32], texts: &[&[u8]]| request(name, None, op, ROOT, &body(words, texts));
    all.extend([
        either("create outside", op::CREATE, &[0o102, 0o644, 0, 0], &[b"../made\0"]),
        either("make a node outside", op::MKNOD, &[0o100_644, 0, 0, 0], &[b"../made\0"]),
        refused("make a device", op::MKNOD, &[0o60_666, 0x800, 0, 0], &[b"disk\0"]),
        either("make a directory outside", op::MKDIR, &[0o755, 0], &[b"../made\0"]),
        either("make a link outside", op::SYMLINK, &[], &[b"../made\0", b"/\0"]),
        refused("remove outside", op::UNLINK, &[], &[b"../secret\0"]),
        refused("remove a directory outside", op::RMDIR, &[], &[b"../share\0"]),
        either("move out", op::RENAME2, &[1, 0, 0, 0], &[b"victim\0", b"../moved\0"]),
        refused("move in", op::RENAME2, &[1, 0, 0, 0], &[b"../secret\0", b"in\0"]),
        request("link out", None, op::LINK, ROOT, &body(&[2, 0], &[b"../linked\0"])),
        refused("give capabilities", op::SETXATTR, &[4, 0], &[b"security.capability\0", b"\x01\0\0\x02"]),
        refused("trusted attribute", op::SETXATTR, &[4, 0], &[b"trusted.overlay.opaque\0", b"yyyy"]),
    ]);
    all
}

/// Nodes and open files that were never given out, and a link that is opened as a file.
fn nodes() -> Vec<Request> {
    let mut all = Vec::new();
    for node in [0, FORGED, u64::MAX] {
        let refused = |name, op, bytes: &[u8]| request(name, false, op, node, bytes);
        all.extend([
            refused("forged parent", op::LOOKUP, b"secret\0"),
            refused("forged attributes", op::GETATTR, &body(&[0; 4], &[])),
            refused("forged change", op::SETATTR, &body(&[1; 22], &[])),
            refused("forged file", op::OPEN, &body(&[2, 0], &[])),
            refused("forged directory", op::OPENDIR, &body(&[0, 0], &[])),
            refused("forged link", op::READLINK, &[]),
        ]);
    }
    let handle = [0xffff_0000, 0x7fff];
    let io = |size: u32| body(&[handle[0], handle[1], 0, 0, size, 0, 0, 0, 0, 0], &[]);
    all.extend([
        request("open a link", false, op::OPEN, GUESSED + 1, &body(&[2, 0], &[])),
        request("forged handle to read", false, op::READ, GUESSED, &io(512)),
        request("forged handle to read it all", false, op::READ, GUESSED, &io(u32::MAX)),
        request("forged handle to write", false, op::WRITE, GUESSED, &[&io(4)[..], b"evil"].concat()),
        request("forged handle to list", false, op::READDIR, ROOT, &io(512)),
        request("forged handle to list more", false, op::READDIRPLUS, ROOT, &io(512)),
        request(
            "forged handles to copy",
            false,
            op::COPY_FILE_RANGE,
            GUESSED,
            &body(&[9, 9, 0, 0, 3, 0, 9, 9, 0, 0, 64, 0, 0, 0], &[]),
        ),
        request("memory of a device that has none", false, op::SETUPMAPPING, GUESSED, &body(&[0; 10], &[])),
    ]);
    all
}

/// Lengths that lie, requests that end within themselves, and answers without room: the share's process may end at each.
pub(super) fn lengths() -> Vec<Request> {
    let lookup = |name| request(name, None, op::LOOKUP, ROOT, b"here\0");
    let write = body(&[0, 0, 0, 0, u32::MAX, 0, 0, 0, 0, 0], &[b"evil"]);
    vec![
        lookup("longer than it is").length(u32::MAX),
        lookup("shorter than it is").length(41),
        lookup("shorter than its header").length(8),
        lookup("of no length").length(0),
        request("a name without an end", None, op::LOOKUP, ROOT, b"here"),
        request("no name", None, op::LOOKUP, ROOT, b""),
        request("half of what belongs to it", None, op::OPEN, ROOT, &[0; 3]),
        request("one name of two", None, op::RENAME2, ROOT, &body(&[1, 0, 0, 0], &[b"here\0"])),
        request("writes more than it has", None, op::WRITE, GUESSED, &write),
        request("a change of nothing", None, op::SETATTR, GUESSED, &[]),
        request("no operation", false, 4000, ROOT, &[0; 64]),
        request("forgets more than there is", None, op::FORGET, GUESSED, &u64::MAX.to_le_bytes()),
        request("forgets the root", None, op::FORGET, ROOT, &u64::MAX.to_le_bytes()),
        request(
            "forgets many that are not there",
            None,
            op::BATCH_FORGET,
            0,
            &body(&[u32::MAX, 0, 1, 0, 1, 0], &[]),
        ),
        lookup("an answer that has no room").room(16),
        lookup("an answer of a header's half").room(8),
    ]
}

/// The guest: sets the device of these registers up, sends each request when the one before is answered, and shows the headers
/// of the answers behind marks, in the end more of them. To the request `last` it needs no answer where the device asks to
/// be reset.
pub(super) fn guest(code: Code, device: u32, requests: &[Request], last: Option<&Request>) -> Code {
    assert!(requests.len() < 100);
    let mut code = set_up(code, device);
    for (index, request) in (0..).zip(requests) {
        code = send(code, device, index, request).wait_for(USED, u8::try_from(index + 1).unwrap());
        code = code.print("<<<<").out_string(CONSOLE, REQUESTS + index * ROOM + ANSWER, 8);
    }
    let count = u32::try_from(requests.len()).unwrap();
    if let Some(last) = last {
        // loop: mov eax, [status]; test al, DEVICE_NEEDS_RESET; jne behind; cmp byte [used], count; jne loop
        code = send(code, device, count, last)
            .bytes(&[0x8b, 0x04, 0x25])
            .bytes(&(device + STATUS).to_le_bytes());
        code = code.bytes(&[0xa8, 0x40, 0x75, 0x0a, 0x80, 0x3c, 0x25]).bytes(&USED.to_le_bytes());
        code = code.bytes(&[u8::try_from(count + 1).unwrap(), 0x75, 0xeb]);
    }
    (0..=count).fold(code, |code, index| code.out_string(CONSOLE, REQUESTS + index * ROOM + ANSWER, 64))
}

fn set_up(mut code: Code, device: u32) -> Code {
    let states =
        [(STATUS, 0), (STATUS, 1), (STATUS, 3), (DRIVER_FEATURES_SEL, 1), (DRIVER_FEATURES, 1), (STATUS, 11)];
    for (register, value) in states {
        code = code.store(device + register, value);
    }
    for memory in [QUEUE_MEMORY, RING] {
        code = code.store(device + QUEUE_SEL, u32::from(memory == RING)).store(device + QUEUE_SIZE, SIZE);
        for (ring, offset) in RINGS.into_iter().zip([0, 0x2000, 0x4000]) {
            code = code.store(device + ring, memory + offset).store(device + ring + 4, 0);
        }
        code = code.store(device + QUEUE_READY, 1);
    }
    code.store(device + STATUS, 15)
}

/// Makes a request available and says so. Its two descriptors are those of the one before: what is read, and the answer
/// behind it; the first one is the head each time, as entries of the ring are zero.
fn send(code: Code, device: u32, index: u32, request: &Request) -> Code {
    let at = REQUESTS + index * ROOM;
    let len = u32::try_from(request.bytes.len()).unwrap();
    let descriptors = [at, 0, len, 1 << 16 | 1, at + ANSWER, 0, request.room, 2];
    let code = code.store_bytes(at, &request.bytes);
    let code = (RING..).step_by(4).zip(descriptors).fold(code, |code, (word, value)| code.store(word, value));
    code.store(RING + 0x2000, (index + 1) << 16).store(device + QUEUE_NOTIFY, 1)
}

//! The runtime package's kernel with an init of a few system calls, which tells what the kernel sees of the
//! machine: CPUs in its affinity mask, and RAM.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use spec::Stage;
use spec::boot::STAGE_PORT;
use vmm::devices::block::{DiskConfig, Extent};
use vmm::devices::console::ConsoleConfig;
use vmm::devices::vsock::VsockConfig;
use vmm::{InitrdPart, VmConfig, VmExit};

use crate::asm::{Code, initramfs};
use crate::{content, file_of, marks, run, start};

/// Where the init keeps what the kernel tells it.
const ADDRESS: u64 = 0x40_0000;
const MASK: u32 = 0x40_2000;
const SYSINFO: u32 = 0x40_2100;

/// Where the init keeps strings and data: 256 bytes each.
const TEXT: [u32; 4] = [0x40_2200, 0x40_2300, 0x40_2400, 0x40_2500];

const SYS_READ: u32 = 0;
const SYS_WRITE: u32 = 1;
const SYS_OPEN: u32 = 2;
const SYS_SOCKET: u32 = 41;
const SYS_CONNECT: u32 = 42;
const SYS_FSYNC: u32 = 74;
const SYS_MKDIR: u32 = 83;
const SYS_MOUNT: u32 = 165;
const SYS_SYSINFO: u32 = 99;
const SYS_IOPL: u32 = 172;
const SYS_SCHED_GETAFFINITY: u32 = 204;

/// The runtime package's kernel.
pub(crate) fn kernel() -> File {
    let package = std::env::var_os("CRADLE_PKG")
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pkg-default").into());
    let path = Path::new(&package).join("vmlinux");
    File::open(&path).unwrap_or_else(|error| panic!("no kernel at {}: {error}", path.display()))
}

/// A machine whose early console goes to the file.
pub(crate) fn linux(vcpus: u8, memory_mib: u64, init: Code, console: &File) -> VmConfig {
    let archive = initramfs("init", &init.link(ADDRESS, 0x2000));
    VmConfig {
        vcpus,
        memory_mib,
        initrd: vec![InitrdPart::Bytes(archive)],
        early_console: Some(console.try_clone().unwrap()),
        ..VmConfig::new(kernel())
    }
}

/// CPUs and bytes of RAM that Linux sees.
fn sees(vcpus: u8, memory_mib: u64) -> (u32, u64) {
    let init = Code::default()
        .system_call(SYS_IOPL, [3, 0, 0])
        .out(STAGE_PORT, Stage::Init as u8)
        .system_call(SYS_SCHED_GETAFFINITY, [0, 128, MASK])
        .system_call(SYS_SYSINFO, [SYSINFO, 0, 0])
        .out_string(0x3f8, MASK, 8)
        .out_string(0x3f8, SYSINFO + 32, 8)
        .out(STAGE_PORT, Stage::PowerOff as u8)
        .hang();
    let console = tempfile::tempfile().unwrap();
    let (handle, machine) = start(linux(vcpus, memory_mib, init, &console));
    let exit = machine.join().unwrap().unwrap();
    let said = content(&console);
    assert_eq!(exit, VmExit::PowerOff, "{}", String::from_utf8_lossy(&said));
    assert!(marks(&handle).contains(&"init"));
    let [mask, ram] = [0, 8].map(|offset| u64::from_le_bytes(said[offset..offset + 8].try_into().unwrap()));
    (mask.count_ones(), ram)
}

fn check_sees(vcpus: u8, memory_mib: u64) {
    let (cpus, ram) = sees(vcpus, memory_mib);
    assert_eq!(cpus, u32::from(vcpus));
    // What the kernel keeps for itself: its image, and a page structure a page.
    let kept = (memory_mib << 20) - ram;
    assert!(kept < (40 << 20) + (memory_mib << 20) / 32, "{ram} of {memory_mib} MiB");
}

#[test]
fn linux_sees_one_cpu_and_the_least_memory() {
    check_sees(1, vmm::memory::MIN_MIB);
}

#[test]
fn linux_sees_two_cpus() {
    check_sees(2, 128);
}

#[test]
fn linux_sees_four_cpus_and_memory_on_both_sides_of_the_hole() {
    check_sees(4, 5 * 1024);
}

#[test]
fn a_panic_leaves_its_last_words() {
    let console = tempfile::tempfile().unwrap();
    // An init that ends makes the kernel panic.
    let exit = run(linux(1, 128, Code::default().system_call(60, [3, 0, 0]), &console)).unwrap();
    let said = String::from_utf8_lossy(&content(&console)).into_owned();
    assert_eq!(exit, VmExit::GuestPanic, "{said}");
    assert!(
        said.contains("Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300"),
        "{said}"
    );
}

#[test]
fn a_silent_boot_says_nothing_and_a_verbose_one_everything() {
    let init =
        || Code::default().system_call(SYS_IOPL, [3, 0, 0]).out(STAGE_PORT, Stage::PowerOff as u8).hang();
    let silent = tempfile::tempfile().unwrap();
    run(linux(1, 128, init(), &silent)).unwrap();
    assert_eq!(String::from_utf8_lossy(&content(&silent)), "");
    let verbose = tempfile::tempfile().unwrap();
    run(VmConfig { log_level: 8, ..linux(1, 128, init(), &verbose) }).unwrap();
    let said = String::from_utf8_lossy(&content(&verbose)).into_owned();
    assert!(said.contains("Command line: loglevel=8 earlyprintk=ttyS0,115200,keep"), "{said}");
}

/// An init that copies the start of `/dev/vda` to `/dev/vdb` and to port 2 of the host. It has no descriptors at
/// first: the initramfs has no console to open.
fn copying_init() -> Code {
    let [vda, vdb, dev, data] = TEXT;
    let address = [&[40, 0, 0, 0][..], &2_u32.to_le_bytes(), &2_u32.to_le_bytes(), &[0; 4]].concat();
    Code::default()
        .system_call(SYS_IOPL, [3, 0, 0])
        .store_bytes(dev, b"/dev\0")
        .store_bytes(dev + 16, b"devtmpfs\0")
        .store_bytes(dev + 32, &address)
        .store_bytes(vda, b"/dev/vda\0")
        .store_bytes(vdb, b"/dev/vdb\0")
        .system_call(SYS_MKDIR, [dev, 0o755, 0])
        // The fourth argument, the flags, is zero still.
        .system_call(SYS_MOUNT, [dev, dev, dev + 16])
        .system_call(SYS_OPEN, [vda, 0, 0])
        .system_call(SYS_OPEN, [vdb, 2, 0])
        .system_call(SYS_READ, [0, data, 256])
        .system_call(SYS_WRITE, [1, data, 256])
        .system_call(SYS_FSYNC, [1, 0, 0])
        .system_call(SYS_SOCKET, [40, 1, 0])
        .system_call(SYS_CONNECT, [2, dev + 32, 16])
        .system_call(SYS_WRITE, [2, data, 256])
        .out(STAGE_PORT, Stage::PowerOff as u8)
        .hang()
}

#[test]
fn disks_and_vsock_carry_data() {
    let console = tempfile::tempfile().unwrap();
    let pattern: Vec<u8> = (0..=255).collect();
    let (image, scratch) = (file_of(&pattern), file_of(&[0; 1 << 20]));
    let extent = Extent { file: image, offset: 0, len: 1 << 20 };
    let (mut host, guest) = UnixStream::pair().unwrap();
    let config = VmConfig {
        disks: vec![
            DiskConfig::image(vec![extent], "image").unwrap(),
            DiskConfig::writable(scratch.try_clone().unwrap(), "scratch").unwrap(),
        ],
        vsock: Some(VsockConfig::new(Vec::new(), vec![(spec::vsock::STDIO_PORT, guest)]).unwrap()),
        rng: true,
        ..linux(2, 128, copying_init(), &console)
    };
    let exit = run(config).unwrap();
    assert_eq!(exit, VmExit::PowerOff, "{}", String::from_utf8_lossy(&content(&console)));
    assert_eq!(content(&scratch)[..256], pattern);
    let mut sent = Vec::new();
    host.read_to_end(&mut sent).unwrap();
    assert_eq!(sent, pattern);
}

/// An init that says `ready` on the console, answers one line there, and ends. Linux drops what comes before its
/// driver has a terminal: the host waits for that word.
pub(crate) fn talking_init() -> Code {
    let [name, dev, data, ready] = TEXT;
    Code::default()
        .system_call(SYS_IOPL, [3, 0, 0])
        .store_bytes(dev, b"/dev\0")
        .store_bytes(dev + 16, b"devtmpfs\0")
        .store_bytes(name, b"/dev/hvc0\0")
        .store_bytes(data, b"got ")
        .store_bytes(ready, b"ready\n")
        .system_call(SYS_MKDIR, [dev, 0o755, 0])
        .system_call(SYS_MOUNT, [dev, dev, dev + 16])
        .system_call(SYS_OPEN, [name, 2, 0])
        .system_call(SYS_WRITE, [0, ready, 6])
        .system_call(SYS_READ, [0, data + 4, 64])
        .system_call(SYS_WRITE, [0, data, 9])
        .out(STAGE_PORT, Stage::PowerOff as u8)
        .hang()
}

/// Boots the machine with that init, runs `meanwhile` while the guest waits, and lets it end: what is said of `ping`.
pub(crate) fn talk(config: VmConfig, early: &File, meanwhile: impl FnOnce()) -> String {
    let (mut host, near) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let console = ConsoleConfig { input: Some(near.try_clone().unwrap().into()), output: near.into() };
    let (_, machine) = start(VmConfig { console: Some(console), ..config });
    let log = || String::from_utf8_lossy(&content(early)).into_owned();
    let mut said = BufReader::new(host.try_clone().unwrap());
    // A kernel that is not silent writes there, too.
    let ready = said.by_ref().lines().any(|line| line.unwrap() == "ready");
    assert!(ready, "{}", log());
    meanwhile();
    host.write_all(b"ping\n").unwrap();
    assert_eq!(machine.join().unwrap().unwrap(), VmExit::PowerOff, "{}", log());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    rest
}

#[test]
fn the_console_carries_both_ways() {
    let early = tempfile::tempfile().unwrap();
    // The terminal's echo, then what the init wrote.
    assert_eq!(talk(linux(1, 128, talking_init(), &early), &early, || ()), "ping\r\ngot ping\r\n");
}

#[test]
fn every_interrupt_line_works() {
    let console = tempfile::tempfile().unwrap();
    let disk = || DiskConfig::writable(file_of(&[0; 1 << 20]), "disk").unwrap();
    let init = Code::default().system_call(SYS_IOPL, [3, 0, 0]).out(STAGE_PORT, Stage::PowerOff as u8).hang();
    let disks = (0..18).map(|_| disk()).collect();
    let exit = run(VmConfig { disks, log_level: 8, ..linux(1, 128, init, &console) }).unwrap();
    // The kernel reads each disk's first sectors for a partition table before it runs init.
    let said = String::from_utf8_lossy(&content(&console)).into_owned();
    assert_eq!(exit, VmExit::PowerOff, "{said}");
    assert!(said.contains("[vdr] 2048 512-byte logical blocks"), "{said}");
}

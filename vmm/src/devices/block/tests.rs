//! The block device under a fake driver.

mod growth;
mod limits;

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::request::{Status, kind};
use super::*;
use crate::bus::QUEUE_NOTIFY_OFFSET;
use crate::virtio::harness::{
    BARE_FEATURES, Desc, DeviceHarness, HIGH, INDIRECT, NEXT, Numbers, Part, WRITE, encode, fuzz,
    malformed_chains,
};

const HEADER: u64 = 0x40_0000;
const DATA: u64 = 0x50_0000;
const STATUS: u64 = 0x41_0000;
const MIB: u64 = 1 << 20;

fn file_of(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

/// Bytes that differ from sector to sector.
fn pattern(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|index| u8::try_from((index / 512 * 7 + index) & 0xff).unwrap() ^ salt).collect()
}

fn writable(len: u64) -> (File, DeviceHarness) {
    let file = tempfile::tempfile().unwrap();
    file.set_len(len).unwrap();
    let disk = DiskConfig::writable(file.try_clone().unwrap(), "scratch").unwrap();
    (file, DeviceHarness::started(Box::new(Block::new(disk).unwrap())))
}

/// Makes a request without waiting for it; answers its head.
fn submit(harness: &mut DeviceHarness, kind: u32, place: u64, data: &[Part<'_>]) -> u32 {
    let header = header(kind, 0);
    let mut parts = vec![Part::Out(HEADER + place * 0x1000, &header)];
    parts.extend_from_slice(data);
    parts.push(Part::In(HEADER + place * 0x1000 + 0x800, 1));
    let head = harness.add(0, &parts);
    harness.kick(0);
    u32::from(head)
}

fn image(bytes: &[u8]) -> DeviceHarness {
    let extent = Extent { file: file_of(bytes), offset: 0, len: bytes.len() as u64 };
    let disk = DiskConfig::image(vec![extent], "image").unwrap();
    DeviceHarness::started(Box::new(Block::new(disk).unwrap()))
}

fn header(kind: u32, sector: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[8..].copy_from_slice(&sector.to_le_bytes());
    bytes
}

/// Makes a request and answers its status byte and the used length.
fn request(harness: &mut DeviceHarness, kind: u32, sector: u64, data: &[Part<'_>]) -> (u8, u32) {
    let header = header(kind, sector);
    let mut parts = vec![Part::Out(HEADER, &header)];
    parts.extend_from_slice(data);
    parts.push(Part::In(STATUS, 1));
    harness.memory_fill(STATUS, 0xee);
    let head = harness.add(0, &parts);
    harness.kick(0);
    let used = harness.used(0).expect("the request is answered");
    assert_eq!(used.head, u32::from(head));
    assert!(harness.interrupted());
    (harness.bytes(STATUS, 1)[0], used.len)
}

fn range(sector: u64, sectors: u32, flags: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&sector.to_le_bytes());
    bytes[8..12].copy_from_slice(&sectors.to_le_bytes());
    bytes[12..].copy_from_slice(&flags.to_le_bytes());
    bytes
}

const OK: u8 = Status::Ok as u8;
const IO_ERROR: u8 = Status::IoError as u8;
const UNSUPPORTED: u8 = Status::Unsupported as u8;

#[test]
fn the_configuration_says_what_the_disk_is() {
    let mut harness = image(&pattern(8192, 0));
    let config = harness.config(60);
    assert_eq!(config[..8], 16u64.to_le_bytes());
    assert_eq!(harness.config(100)[60..], [0; 40]);
}

#[test]
fn writes_and_reads_meet_the_file() {
    let (file, mut harness) = writable(MIB);
    let bytes = pattern(4096, 3);
    let parts = [Part::Out(DATA, &bytes[..512]), Part::Out(DATA + 0x1000, &bytes[512..])];
    assert_eq!(request(&mut harness, kind::OUT, 8, &parts), (OK, 1));
    let mut on_disk = vec![0; 4096];
    file.read_exact_at(&mut on_disk, 4096).unwrap();
    assert_eq!(on_disk, bytes);
    assert_eq!(request(&mut harness, kind::FLUSH, 0, &[]), (OK, 1));

    let parts = [Part::In(DATA + 0x2000, 1024), Part::In(DATA + 0x4000, 3072)];
    assert_eq!(request(&mut harness, kind::IN, 8, &parts), (OK, 4097));
    assert_eq!(harness.bytes(DATA + 0x2000, 1024), bytes[..1024]);
    assert_eq!(harness.bytes(DATA + 0x4000, 3072), bytes[1024..]);
}

#[test]
fn many_requests_are_done_at_one_kick() {
    let (_file, mut harness) = writable(MIB);
    let bytes = pattern(512 * 40, 9);
    for (sector, chunk) in (0u64..).zip(bytes.chunks(512)) {
        let header = header(kind::OUT, sector);
        let place = DATA + sector * 0x1000;
        harness
            .add(0, &[Part::Out(place + 512, &header), Part::Out(place, chunk), Part::In(place + 1024, 1)]);
    }
    harness.write(QUEUE_NOTIFY_OFFSET, 0);
    // Some in each turn, so that a reset or the machine's end need not wait for all.
    harness.event_loop.turn(0).unwrap();
    assert_eq!(std::iter::from_fn(|| harness.used(0)).count(), usize::from(TURN));
    harness.run();
    assert_eq!(std::iter::from_fn(|| harness.used(0)).count(), 40 - usize::from(TURN));
    assert_eq!(request(&mut harness, kind::IN, 0, &[Part::In(DATA, 512 * 40)]).0, OK);
    assert_eq!(harness.bytes(DATA, 512 * 40), bytes);
}

#[test]
fn extents_follow_each_other_and_end_in_zeros() {
    let first = pattern(1024, 1);
    let second = pattern(3000, 2);
    let extents = vec![
        Extent { file: file_of(&first), offset: 512, len: 512 },
        Extent { file: file_of(&second), offset: 0, len: 8192 },
        Extent { file: file_of(&first), offset: 0, len: 1024 },
    ];
    let disk = DiskConfig::image(extents, "").unwrap();
    assert_eq!(disk.len(), 512 + 8192 + 1024);
    let mut harness = DeviceHarness::started(Box::new(Block::new(disk).unwrap()));
    let expected = [&first[512..], &second[..], &vec![0; 8192 - 3000], &first[..]].concat();
    harness.memory_fill(DATA, 0xee);
    assert_eq!(request(&mut harness, kind::IN, 0, &[Part::In(DATA, 9728)]).0, OK);
    assert_eq!(harness.bytes(DATA, 9728), expected);
    assert_eq!(request(&mut harness, kind::IN, 6, &[Part::In(DATA, 1024)]).0, OK);
    assert_eq!(harness.bytes(DATA, 1024), expected[3072..4096]);
}

#[test]
fn a_file_that_lost_its_end_is_an_error() {
    let file = file_of(&pattern(8192, 0));
    let extent = Extent { file: file.try_clone().unwrap(), offset: 0, len: 8192 };
    let disk = DiskConfig::image(vec![extent], "").unwrap();
    let mut harness = DeviceHarness::started(Box::new(Block::new(disk).unwrap()));
    file.set_len(4096).unwrap();
    assert_eq!(request(&mut harness, kind::IN, 0, &[Part::In(DATA, 4096)]).0, OK);
    assert_eq!(request(&mut harness, kind::IN, 8, &[Part::In(DATA, 512)]), (IO_ERROR, 1));
}

#[test]
fn extents_must_fit_their_files() {
    let extent = |file_len, offset, len| Extent { file: file_of(&vec![1; file_len]), offset, len };
    for (file_len, offset, len) in
        [(512, 0, 100), (512, 0, (2 << 20) + 512), (512, 4 << 20, 4 << 20), (512, u64::MAX - 511, 1024)]
    {
        let result = DiskConfig::image(vec![extent(file_len, offset, len)], "");
        assert!(matches!(result, Err(DiskError::Extent { index: 0, .. })), "{file_len} {offset} {len}");
    }
    let result = DiskConfig::writable(file_of(&[0; 700]), "");
    assert!(matches!(result, Err(DiskError::Extent { file_len: 700, .. })));
}

#[test]
fn a_writable_file_has_one_writer() {
    let path = tempfile::NamedTempFile::new().unwrap();
    let open = || File::options().read(true).write(true).open(path.path()).unwrap();
    let first = DiskConfig::writable(open(), "").unwrap();
    assert!(matches!(DiskConfig::writable(open(), ""), Err(DiskError::InUse)));
    drop(first);
    assert!(DiskConfig::writable(open(), "").is_ok());
}

#[test]
fn a_read_only_disk_refuses_changes() {
    let bytes = pattern(4096, 5);
    let mut harness = image(&bytes);
    assert_eq!(request(&mut harness, kind::OUT, 0, &[Part::Out(DATA, &[9; 512])]), (IO_ERROR, 1));
    for kind in [kind::DISCARD, kind::WRITE_ZEROES] {
        assert_eq!(request(&mut harness, kind, 0, &[Part::Out(DATA, &range(0, 1, 0))]).0, IO_ERROR);
    }
    assert_eq!(request(&mut harness, kind::FLUSH, 0, &[]).0, OK);
    assert_eq!(request(&mut harness, kind::IN, 0, &[Part::In(DATA, 4096)]).0, OK);
    assert_eq!(harness.bytes(DATA, 4096), bytes);
}

#[test]
fn ranges_outside_the_disk_are_errors() {
    let (_file, mut harness) = writable(8192);
    for (sector, len) in
        [(16, 512), (15, 1024), (u64::MAX, 512), (u64::MAX / 512 + 1, 512), (0, 100), (0, 1 << 20)]
    {
        assert_eq!(
            request(&mut harness, kind::IN, sector, &[Part::In(DATA, len)]),
            (IO_ERROR, 1),
            "{sector} {len}"
        );
    }
    for sector in [16, u64::MAX] {
        assert_eq!(request(&mut harness, kind::OUT, sector, &[Part::Out(DATA, &[1; 512])]), (IO_ERROR, 1));
        let zeroes = range(sector, 1, 0);
        assert_eq!(request(&mut harness, kind::WRITE_ZEROES, 0, &[Part::Out(DATA, &zeroes)]).0, IO_ERROR);
        assert_eq!(request(&mut harness, kind::DISCARD, 0, &[Part::Out(DATA, &zeroes)]).0, IO_ERROR);
    }
}

#[test]
fn discards_give_space_back_and_zeroes_are_zeros() {
    let (file, mut harness) = writable(4 * MIB);
    file.write_all_at(&pattern(4 << 20, 1), 0).unwrap();
    file.sync_all().unwrap();
    let before = file.metadata().unwrap().blocks();
    let ranges = [range(0, 2048, 0), range(4096, 2048, 0)].concat();
    assert_eq!(request(&mut harness, kind::DISCARD, 0, &[Part::Out(DATA, &ranges)]), (OK, 1));
    assert!(file.metadata().unwrap().blocks() < before);
    for (first, flags) in [(2048, 0), (6144, 1)] {
        let zeroes = range(first, 1024, flags);
        assert_eq!(request(&mut harness, kind::WRITE_ZEROES, 0, &[Part::Out(DATA, &zeroes)]).0, OK);
        assert_eq!(request(&mut harness, kind::IN, first, &[Part::In(DATA, 1024 * 512)]).0, OK);
        assert_eq!(harness.bytes(DATA, 1024 * 512), vec![0; 1024 * 512]);
        assert_eq!(request(&mut harness, kind::IN, first + 1024, &[Part::In(DATA, 512)]).0, OK);
        assert_ne!(harness.bytes(DATA, 512), [0; 512]);
    }
}

#[test]
fn unknown_requests_and_flags_are_unsupported() {
    let (_file, mut harness) = writable(MIB);
    for kind in [2, 3, 5, 10, 14, 100, u32::MAX] {
        assert_eq!(request(&mut harness, kind, 0, &[Part::In(DATA, 512)]).0, UNSUPPORTED, "{kind}");
    }
    let flagged = range(0, 1, 1);
    assert_eq!(request(&mut harness, kind::DISCARD, 0, &[Part::Out(DATA, &flagged)]).0, UNSUPPORTED);
    let flagged = range(0, 1, 2);
    assert_eq!(request(&mut harness, kind::WRITE_ZEROES, 0, &[Part::Out(DATA, &flagged)]).0, UNSUPPORTED);
    for bytes in [&[0; 15][..], &[], &[0; 32], &range(0, MAX_ZERO_SECTORS + 1, 0)] {
        assert_eq!(request(&mut harness, kind::WRITE_ZEROES, 0, &[Part::Out(DATA, bytes)]).0, IO_ERROR);
    }
}

#[test]
fn the_serial_is_told() {
    let mut harness = image(&[0; 512]);
    assert_eq!(request(&mut harness, kind::GET_ID, 0, &[Part::In(DATA, 20)]), (OK, 21));
    assert_eq!(harness.bytes(DATA, 20), b"image\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(request(&mut harness, kind::GET_ID, 0, &[Part::In(DATA, 4)]), (OK, 5));
}

#[test]
fn framing_does_not_matter() {
    let bytes = pattern(2048, 4);
    let mut harness = image(&bytes);
    let header = header(kind::IN, 1);
    harness.add(
        0,
        &[Part::Out(HEADER, &header[..7]), Part::Out(HEADER + 64, &header[7..]), Part::In(DATA, 513)],
    );
    harness.kick(0);
    assert_eq!(harness.used(0).unwrap().len, 513);
    assert_eq!(harness.bytes(DATA, 512), bytes[512..1024]);
    assert_eq!(harness.bytes(DATA + 512, 1), [OK]);
}

#[test]
fn indirect_tables_are_followed() {
    let bytes = pattern(1024, 8);
    let mut harness = image(&bytes);
    let table = [
        Desc { address: HEADER, len: 16, flags: NEXT, next: 1 },
        Desc { address: HIGH, len: 1024, flags: NEXT | WRITE, next: 2 },
        Desc { address: STATUS, len: 1, flags: WRITE, next: 0 },
    ];
    let bytes_of_table: Vec<u8> = table.iter().flat_map(|desc| encode(*desc)).collect();
    harness.memory_write(HEADER, &header(kind::IN, 0));
    harness.memory_write(DATA, &bytes_of_table);
    harness.offer(0, &[Desc { address: DATA, len: 48, flags: INDIRECT, next: 0 }]);
    assert_eq!(harness.used(0).unwrap().len, 1025);
    assert_eq!(harness.bytes(HIGH, 1024), bytes);
}

#[test]
fn malformed_chains_come_back() {
    for (name, table) in malformed_chains(256) {
        let (file, mut harness) = writable(MIB);
        // Whatever the buffers mean as a request, it writes.
        harness.memory_write(HEADER, &header(kind::OUT, 0));
        harness.offer(0, &table);
        assert!(harness.used(0).is_some(), "{name}: kept");
        let mut on_disk = vec![1; usize::try_from(MIB).unwrap()];
        file.read_exact_at(&mut on_disk, 0).unwrap();
        assert!(on_disk.iter().all(|byte| *byte == 0), "{name}: wrote");
        assert_eq!(request(&mut harness, kind::IN, 0, &[Part::In(DATA, 512)]).0, OK, "{name}: dead after it");
    }
}

#[test]
fn a_chain_longer_than_the_queue_is_refused() {
    let (_file, mut harness) = writable(MIB);
    let desc = |index: u16, flags| Desc { address: DATA, len: 16, flags, next: index + 1 };
    let table: Vec<u8> =
        (0..300).flat_map(|index| encode(desc(index, if index < 299 { NEXT } else { 0 }))).collect();
    harness.memory_write(HEADER, &table);
    harness.offer(0, &[Desc { address: HEADER, len: 300 * 16, flags: INDIRECT, next: 0 }]);
    assert_eq!(harness.used(0).map(|used| used.len), Some(0));
}

#[test]
fn a_driver_without_optional_features_is_served() {
    let disk = DiskConfig::writable(file_of(&[0; 1024]), "").unwrap();
    let mut harness = DeviceHarness::new(Box::new(Block::new(disk).unwrap()));
    harness.start(BARE_FEATURES);
    let bytes = pattern(512, 6);
    assert_eq!(request(&mut harness, kind::OUT, 1, &[Part::Out(DATA, &bytes)]), (OK, 1));
    for _ in 0..600 {
        assert_eq!(request(&mut harness, kind::IN, 1, &[Part::In(DATA, 512)]), (OK, 513));
    }
    assert_eq!(harness.bytes(DATA, 512), bytes);
}

#[test]
fn random_chains_do_no_harm() {
    let (_file, mut harness) = writable(MIB);
    let fill = |numbers: &mut Numbers| {
        let kinds = [kind::IN, kind::OUT, kind::FLUSH, kind::GET_ID, kind::DISCARD, kind::WRITE_ZEROES, 77];
        let kind = kinds[usize::try_from(numbers.below(7)).unwrap()];
        let sector = if numbers.below(8) == 0 { numbers.next() } else { numbers.below(2048) };
        let mut bytes = header(kind, sector).to_vec();
        let sectors = u32::try_from(numbers.below(64)).unwrap();
        bytes.extend(range(numbers.below(2048), sectors, u32::try_from(numbers.below(3)).unwrap()));
        bytes
    };
    fuzz(&mut harness, 5_000, 2, fill);
    assert_eq!(request(&mut harness, kind::IN, 0, &[Part::In(DATA, 512)]).0, OK);
}

thread_local! {
    static SYNCS: Cell<u32> = const { Cell::new(0) };
    static SYNC_FAILS: Cell<bool> = const { Cell::new(false) };
}

/// A disk of 1 MiB whose durability is counted in `SYNCS`, and fails while `SYNC_FAILS`.
fn watched() -> DiskConfig {
    let mut disk = DiskConfig::writable(file_of(&[0; 1 << 20]), "").unwrap();
    disk.sync_by(|_| {
        SYNCS.set(SYNCS.get() + 1);
        if SYNC_FAILS.get() { Err(std::io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    });
    disk
}

#[test]
fn what_is_written_is_durable_when_the_driver_was_told_so() {
    let write = |harness: &mut DeviceHarness| {
        SYNCS.set(0);
        assert_eq!(request(harness, kind::OUT, 1, &[Part::Out(DATA, &[1; 512])]).0, OK);
        let after_write = SYNCS.replace(0);
        let zeroes = range(2, 1, 0);
        assert_eq!(request(harness, kind::WRITE_ZEROES, 0, &[Part::Out(DATA, &zeroes)]).0, OK);
        let after_zeroes = SYNCS.replace(0);
        assert_eq!(request(harness, kind::IN, 1, &[Part::In(DATA, 512)]).0, OK);
        assert_eq!(request(harness, kind::FLUSH, 0, &[]).0, OK);
        (after_write, after_zeroes, SYNCS.get())
    };
    // Until the next flush it may stay in the host's cache.
    assert_eq!(write(&mut DeviceHarness::started(Box::new(Block::new(watched()).unwrap()))), (0, 0, 1));
    // A driver that knows no flushes has none: each write is durable.
    let mut harness = DeviceHarness::new(Box::new(Block::new(watched()).unwrap()));
    harness.start(!block_feature::FLUSH);
    assert_eq!(write(&mut harness), (1, 1, 1));
    // Nothing can switch from one to the other later: the bit that lets a driver do so is not offered.
    let device = Block::new(watched()).unwrap();
    assert_eq!(device.features() & 1 << 11, 0, "VIRTIO_BLK_F_CONFIG_WCE");
}

#[test]
fn a_flush_that_failed_is_never_followed_by_one_that_succeeds() {
    let mut harness = DeviceHarness::started(Box::new(Block::new(watched()).unwrap()));
    let write = |harness: &mut DeviceHarness| request(harness, kind::OUT, 1, &[Part::Out(DATA, &[1; 512])]).0;
    assert_eq!((write(&mut harness), request(&mut harness, kind::FLUSH, 0, &[]).0), (OK, OK));
    SYNC_FAILS.set(true);
    assert_eq!((write(&mut harness), request(&mut harness, kind::FLUSH, 0, &[]).0), (OK, IO_ERROR));
    // The kernel reports a lost write once.
    SYNC_FAILS.set(false);
    for _ in 0..2 {
        assert_eq!(request(&mut harness, kind::FLUSH, 0, &[]).0, IO_ERROR);
        assert_eq!(write(&mut harness), IO_ERROR);
        for kind in [kind::DISCARD, kind::WRITE_ZEROES] {
            assert_eq!(request(&mut harness, kind, 0, &[Part::Out(DATA, &range(0, 1, 0))]).0, IO_ERROR);
        }
        assert_eq!(request(&mut harness, kind::IN, 1, &[Part::In(DATA, 512)]).0, OK);
        // A driver that resets the device gets the same disk.
        harness.reset();
        harness.start(u64::MAX);
    }
}

//! The console device under a fake driver.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use super::*;
use crate::bus::QUEUE_NOTIFY_OFFSET;
use crate::virtio::harness::{DeviceHarness, Part, fuzz, malformed_chains};

const BUFFER: u64 = 0x40_0000;

/// A console and the far ends of its input and output.
fn started() -> (DeviceHarness, UnixStream, UnixStream) {
    let (input, near_input) = UnixStream::pair().unwrap();
    let (output, near_output) = UnixStream::pair().unwrap();
    near_output.set_nonblocking(true).unwrap();
    output.set_nonblocking(true).unwrap();
    let config = ConsoleConfig { input: Some(near_input.into()), output: near_output.into() };
    (DeviceHarness::started(Box::new(Console::new(config))), input, output)
}

#[test]
fn output_reaches_the_host() {
    let (mut harness, _input, mut output) = started();
    harness.add(TX, &[Part::Out(BUFFER, b"hello, "), Part::Out(BUFFER + 64, b"world")]);
    harness.kick(TX);
    assert!(harness.used(TX).is_some());
    let mut text = [0; 64];
    let count = output.read(&mut text).unwrap();
    assert_eq!(&text[..count], b"hello, world");
}

#[test]
fn output_waits_for_a_slow_reader_and_is_whole() {
    let (mut harness, _input, mut output) = started();
    let line = vec![b'x'; 8192];
    let mut sent = 0;
    loop {
        harness.add(TX, &[Part::Out(BUFFER, &line)]);
        harness.kick(TX);
        sent += line.len();
        if harness.used(TX).is_none() {
            break;
        }
    }
    let mut received = 0;
    let mut buffer = vec![0; 65536];
    while received < sent {
        match output.read(&mut buffer) {
            Ok(count) => received += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => harness.run(),
            Err(error) => panic!("{error}"),
        }
        harness.run();
    }
    assert_eq!(received, sent);
    assert!(harness.used(TX).is_some());
    assert!(output.read(&mut buffer).is_err(), "nothing is written twice");
}

#[test]
fn long_output_is_written_in_turns() {
    let file = tempfile::tempfile().unwrap();
    let config = ConsoleConfig { input: None, output: file.try_clone().unwrap().into() };
    let mut harness = DeviceHarness::started(Box::new(Console::new(config)));
    let text: Vec<u8> = (0..3 * MAX_OUTPUT).map(|index| b'a' + u8::try_from(index % 23).unwrap()).collect();
    harness.add(TX, &[Part::Out(BUFFER, &text[..100]), Part::Out(BUFFER + 4096, &text[100..])]);
    harness.write(QUEUE_NOTIFY_OFFSET, u32::try_from(TX).unwrap());
    harness.event_loop.turn(0).unwrap();
    assert_eq!(file.metadata().unwrap().len(), MAX_OUTPUT as u64);
    harness.run();
    assert!(harness.used(TX).is_some());
    let mut written = vec![0; text.len()];
    file.read_exact_at(&mut written, 0).unwrap();
    assert!(written == text);
    assert_eq!(file.metadata().unwrap().len(), text.len() as u64);
}

#[test]
fn output_without_a_reader_is_dropped() {
    let (mut harness, _input, output) = started();
    drop(output);
    harness.add(TX, &[Part::Out(BUFFER, b"lost")]);
    harness.kick(TX);
    assert!(harness.used(TX).is_some());
}

#[test]
fn input_reaches_the_guest() {
    let (mut harness, mut input, _output) = started();
    input.write_all(b"before").unwrap();
    harness.run();
    harness.add(RX, &[Part::In(BUFFER, 4)]);
    harness.add(RX, &[Part::In(BUFFER + 16, 16)]);
    harness.kick(RX);
    assert_eq!(harness.used(RX).map(|used| used.len), Some(4));
    assert_eq!(harness.used(RX).map(|used| used.len), Some(2));
    assert_eq!(harness.bytes(BUFFER, 4), b"befo");
    assert_eq!(harness.bytes(BUFFER + 16, 2), b"re");
    harness.add(RX, &[Part::In(BUFFER, 16)]);
    harness.kick(RX);
    assert!(harness.used(RX).is_none());
    input.write_all(b"after").unwrap();
    harness.run();
    assert_eq!(harness.used(RX).map(|used| used.len), Some(5));
    drop(input);
    harness.run();
    assert!(!harness.needs_reset());
}

#[test]
fn a_file_serves_as_input() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"script").unwrap();
    io::Seek::rewind(&mut file).unwrap();
    let config = ConsoleConfig { input: Some(file.into()), output: tempfile::tempfile().unwrap().into() };
    let mut harness = DeviceHarness::started(Box::new(Console::new(config)));
    harness.add(RX, &[Part::In(BUFFER, 64)]);
    harness.kick(RX);
    assert_eq!(harness.used(RX).map(|used| used.len), Some(6));
}

#[test]
fn malformed_chains_come_back() {
    for queue in [RX, TX] {
        for (name, table) in malformed_chains(64) {
            let (mut harness, mut input, mut output) = started();
            input.write_all(b"0123456789").unwrap();
            harness.offer(queue, &table);
            assert!(queue == RX || harness.used(TX).is_some(), "{name}: kept");
            let _ = output.read(&mut vec![0; 1 << 20]);
            harness.add(TX, &[Part::Out(BUFFER, b"alive")]);
            harness.kick(TX);
            let mut text = [0; 64];
            let count = output.read(&mut text).unwrap();
            assert!(text[..count].ends_with(b"alive"), "{name}: dead after it");
        }
    }
}

#[test]
fn random_chains_do_no_harm() {
    let (_far, input) = UnixStream::pair().unwrap();
    let output = std::fs::File::options().write(true).open("/dev/null").unwrap();
    let config = ConsoleConfig { input: Some(input.into()), output: output.into() };
    fuzz(&mut DeviceHarness::started(Box::new(Console::new(config))), 5_000, 3, |_| vec![b'x'; 64]);
}

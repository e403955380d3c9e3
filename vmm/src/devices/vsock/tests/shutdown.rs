//! Connections end: half by half, at once, abruptly, and never before what was sent has arrived.

use std::io::Write;
use std::net::Shutdown;

use super::super::credit::BUF_ALLOC;
use super::super::header::{SHUTDOWN_BOTH, SHUTDOWN_RCV, SHUTDOWN_SEND};
use super::*;

/// Lets the guest fill its whole credit towards a host that does not read, and answers how much it sent.
fn fill(guest: &mut Guest) -> usize {
    let (mut sent, mut consumed) = (0u32, 0u32);
    while sent - consumed < BUF_ALLOC {
        guest.send(op::RW, 0, &[5; 4096]);
        sent += 4096;
        while let Some((header, _)) = guest.packet() {
            consumed = header.fwd_cnt;
        }
    }
    sent as usize
}

#[test]
fn a_host_that_ends_its_half_still_hears_the_guest() {
    let (mut guest, mut far) = connected();
    far.write_all(b"question").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    assert_eq!(guest.expect(op::RW).1, b"question");
    assert_eq!(guest.expect(op::SHUTDOWN).0.flags, SHUTDOWN_SEND);
    guest.expect_nothing();
    guest.send(op::RW, 0, b"answer");
    assert_eq!(read_all(&mut far), (b"answer".to_vec(), false));
    guest.send(op::SHUTDOWN, SHUTDOWN_SEND, &[]);
    assert_eq!(read_all(&mut far), (Vec::new(), true));
    // Both halves have ended: the guest hears it, and ends the connection when it has read all.
    assert_eq!(guest.expect(op::SHUTDOWN).0.flags, SHUTDOWN_BOTH);
    guest.expect_nothing();
    guest.send(op::SHUTDOWN, SHUTDOWN_BOTH, &[]);
    guest.expect(op::RST);
}

#[test]
fn a_guest_that_ends_its_half_still_hears_the_host() {
    let (mut guest, mut far) = connected();
    guest.send(op::RW, 0, b"question");
    guest.send(op::SHUTDOWN, SHUTDOWN_SEND, &[]);
    assert_eq!(read_all(&mut far), (b"question".to_vec(), true));
    far.write_all(b"answer").unwrap();
    assert_eq!(guest.expect(op::RW).1, b"answer");
    drop(far);
    guest.harness.run();
    assert_eq!(guest.expect(op::SHUTDOWN).0.flags, SHUTDOWN_BOTH);
    guest.expect_nothing();
}

#[test]
fn a_guest_that_reads_no_more_breaks_the_hosts_pipe() {
    let (mut guest, mut far) = connected();
    guest.send(op::SHUTDOWN, SHUTDOWN_RCV, &[]);
    assert_eq!(far.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    guest.send(op::RW, 0, b"still here");
    assert_eq!(read_all(&mut far), (b"still here".to_vec(), false));
    guest.expect_nothing();
}

#[test]
fn a_host_that_reads_no_more_is_told_to_the_guest() {
    let (mut guest, mut far) = connected();
    far.shutdown(Shutdown::Read).unwrap();
    guest.send(op::RW, 0, b"unheard");
    assert_eq!(guest.expect(op::SHUTDOWN).0.flags, SHUTDOWN_RCV);
    far.write_all(b"but speaks").unwrap();
    assert_eq!(guest.expect(op::RW).1, b"but speaks");
}

#[test]
fn a_host_that_closes_is_heard_to_its_last_byte() {
    let (mut guest, mut far) = connected();
    let bytes = pattern(100_000);
    far.write_all(&bytes).unwrap();
    drop(far);
    let mut received = Vec::new();
    let mut flags = 0;
    while flags & SHUTDOWN_SEND == 0 {
        guest.harness.kick(RX);
        let (header, data) = guest.packet().expect("data or the end");
        match header.op {
            op::RW => received.extend(data),
            op::SHUTDOWN => flags |= header.flags,
            other => panic!("packet {other} before all data"),
        }
    }
    assert!(received == bytes);
    assert_eq!(flags, SHUTDOWN_BOTH);
    guest.expect_nothing();
    // What the guest still sends goes nowhere, and costs it no credit for ever.
    for _ in 0..20 {
        guest.send(op::RW, 0, &[1; 65536]);
        while let Some((header, _)) = guest.packet() {
            assert_eq!(header.op, op::CREDIT_UPDATE);
        }
    }
    guest.send(op::RST, 0, &[]);
    guest.expect_nothing();
}

#[test]
fn a_closing_guest_is_heard_to_its_last_byte() {
    for last in [op::SHUTDOWN, op::RST] {
        let (mut guest, mut far) = connected();
        let sent = fill(&mut guest);
        guest.send(last, SHUTDOWN_BOTH, &[]);
        guest.expect_nothing();
        let mut received = 0;
        let mut ended = false;
        while !ended {
            let (bytes, end) = read_all(&mut far);
            received += bytes.len();
            ended = end;
            guest.harness.run();
        }
        assert_eq!(received, sent, "{last}");
        if last == op::SHUTDOWN {
            guest.expect(op::RST);
        }
        guest.expect_nothing();
    }
}

#[test]
fn a_half_closing_guest_is_heard_to_its_last_byte() {
    let (mut guest, mut far) = connected();
    let sent = fill(&mut guest);
    guest.send(op::SHUTDOWN, SHUTDOWN_SEND, &[]);
    let mut received = 0;
    loop {
        let (bytes, ended) = read_all(&mut far);
        received += bytes.len();
        guest.harness.run();
        if ended {
            break;
        }
    }
    assert_eq!(received, sent);
    far.write_all(b"thanks").unwrap();
    guest.harness.run();
    let packets: Vec<_> = std::iter::from_fn(|| guest.packet()).collect();
    assert!(packets.iter().any(|(header, data)| header.op == op::RW && data == b"thanks"));
    assert!(packets.iter().all(|(header, _)| header.op != op::RST));
}

#[test]
fn data_after_a_shutdown_is_a_broken_promise() {
    let (mut guest, _far) = connected();
    guest.send(op::SHUTDOWN, SHUTDOWN_SEND, &[]);
    guest.send(op::RW, 0, b"more");
    guest.expect(op::RST);
}

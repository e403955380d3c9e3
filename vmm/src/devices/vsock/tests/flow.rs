//! Credit both ways: everything arrives, nobody gets more than was granted, a stalled end stops only itself.

use std::io::Write;

use super::super::credit::BUF_ALLOC;
use super::*;

#[test]
fn eight_megabytes_reach_the_host_within_the_credit() {
    let (mut guest, mut far) = connected();
    let bytes = pattern(8 << 20);
    let (mut sent, mut consumed, mut received) = (0usize, 0u32, Vec::new());
    while received.len() < bytes.len() {
        let granted = consumed.wrapping_add(BUF_ALLOC).wrapping_sub(u32::try_from(sent).unwrap()) as usize;
        let len = granted.min(65536).min(bytes.len() - sent);
        if len > 0 {
            guest.send(op::RW, 0, &bytes[sent..sent + len]);
            sent += len;
        } else {
            received.extend(read_all(&mut far).0);
        }
        guest.harness.kick(RX);
        while let Some((header, _)) = guest.packet() {
            assert_eq!(header.op, op::CREDIT_UPDATE);
            consumed = header.fwd_cnt;
        }
        if sent == bytes.len() {
            received.extend(read_all(&mut far).0);
        }
    }
    assert!(received == bytes);
}

#[test]
fn eight_megabytes_reach_the_guest_within_its_credit() {
    let (mut guest, mut far) = connected();
    guest.buf_alloc = 100_000;
    guest.send(op::CREDIT_UPDATE, 0, &[]);
    let bytes = pattern(8 << 20);
    let mut written = 0;
    let mut received = Vec::new();
    while received.len() < bytes.len() {
        if let Ok(count) = far.write(&bytes[written..]) {
            written += count;
        }
        guest.harness.kick(RX);
        while let Some((header, data)) = guest.packet() {
            assert_eq!(header.op, op::RW);
            received.extend(data);
            let held = u32::try_from(received.len()).unwrap() - guest.fwd_cnt;
            assert!(held <= guest.buf_alloc, "over the credit");
        }
        guest.fwd_cnt = u32::try_from(received.len()).unwrap();
        guest.send(op::CREDIT_UPDATE, 0, &[]);
    }
    assert!(received == bytes);
}

#[test]
fn a_guest_without_room_gets_nothing_until_it_has() {
    let (mut guest, mut far) = connected();
    guest.buf_alloc = 10;
    guest.send(op::CREDIT_UPDATE, 0, &[]);
    far.write_all(&pattern(30)).unwrap();
    assert_eq!(guest.expect(op::RW).1, pattern(30)[..10]);
    guest.expect_nothing();
    guest.fwd_cnt = 4;
    guest.send(op::CREDIT_UPDATE, 0, &[]);
    assert_eq!(guest.expect(op::RW).1, pattern(30)[10..14]);
    guest.buf_alloc = 100;
    guest.send(op::CREDIT_UPDATE, 0, &[]);
    assert_eq!(guest.expect(op::RW).1, pattern(30)[14..]);
}

#[test]
fn credit_is_told_when_asked() {
    let (mut guest, _far) = connected();
    guest.send(op::RW, 0, b"12345");
    guest.expect_nothing();
    guest.send(op::CREDIT_REQUEST, 0, &[]);
    let (update, _) = guest.expect(op::CREDIT_UPDATE);
    assert_eq!((update.fwd_cnt, update.buf_alloc), (5, BUF_ALLOC));
}

#[test]
fn a_guest_that_exceeds_its_credit_is_cut_off() {
    let (mut guest, mut far) = connected();
    let packet = vec![7; 65536];
    let mut accepted = 0;
    // The socket's own buffer and the credit, then the cut.
    while guest.packet().is_none_or(|(header, _)| header.op != op::RST) {
        guest.send(op::RW, 0, &packet);
        accepted += packet.len();
        assert!(accepted < 4 << 20, "unbounded");
    }
    assert!(read_all(&mut far).1);
    guest.send(op::RW, 0, b"more");
    guest.expect(op::RST);
}

#[test]
fn a_guest_that_lies_about_its_buffer_gets_nothing() {
    let (mut guest, mut far) = connected();
    guest.fwd_cnt = 1 << 20;
    guest.send(op::CREDIT_UPDATE, 0, &[]);
    far.write_all(b"data").unwrap();
    guest.expect_nothing();
}

#[test]
fn a_host_end_that_does_not_read_stops_only_itself() {
    let (mut guest, dir, mut stalled) = started();
    guest.connect();
    let mut lively = connect(&dir);
    guest.harness.run();
    let (request, _) = guest.expect(op::REQUEST);
    guest.answer(&request, op::RESPONSE, 0, &[]);
    let packet = pattern(65536);
    let (mut sent, mut consumed) = (0u32, 0u32);
    while sent - consumed + 65536 <= BUF_ALLOC {
        guest.send(op::RW, 0, &packet);
        sent += 65536;
        while let Some((header, _)) = guest.packet() {
            consumed = header.fwd_cnt;
        }
    }
    for _ in 0..100 {
        guest.answer(&request, op::RW, 0, &packet[..4096]);
        assert_eq!(read_all(&mut lively).0, packet[..4096]);
        lively.write_all(b"pong").unwrap();
        guest.harness.run();
        while let Some((header, data)) = guest.packet() {
            assert!(header.dst_port == GUEST_PORT && (header.op == op::CREDIT_UPDATE || data == b"pong"));
        }
    }
    let mut received = 0;
    while received < sent as usize {
        received += read_all(&mut stalled).0.len();
        guest.harness.run();
    }
    assert_eq!(received, sent as usize);
}

#[test]
fn a_guest_end_that_does_not_read_stops_only_itself() {
    let (mut guest, dir, mut stalled) = started();
    guest.buf_alloc = 1000;
    guest.connect();
    guest.buf_alloc = 1 << 20;
    while stalled.write(&[0; 4096]).is_ok() {}
    let mut lively = connect(&dir);
    guest.harness.run();
    assert_eq!(guest.expect(op::RW).1.len(), 1000);
    let (request, _) = guest.expect(op::REQUEST);
    guest.answer(&request, op::RESPONSE, 0, &[]);
    for round in 0..100u8 {
        lively.write_all(&[round; 3000]).unwrap();
        assert_eq!(guest.expect(op::RW).1, [round; 3000]);
        guest.expect_nothing();
    }
}

#[test]
fn a_guest_without_buffers_gets_everything_later() {
    let (mut guest, dir, mut far) = device(Duration::from_secs(60));
    guest.harness.start(u64::MAX);
    guest.send(op::REQUEST, 0, &[]);
    let _stream = connect(&dir);
    far.write_all(b"late").unwrap();
    guest.harness.run();
    assert!(guest.packet().is_none());
    for _ in 0..3 {
        guest.give_buffer();
        guest.harness.kick(RX);
    }
    guest.expect(op::RESPONSE);
    let ops = [guest.packet().unwrap(), guest.packet().unwrap()].map(|(header, _)| header.op);
    assert!(ops.contains(&op::RW) && ops.contains(&op::REQUEST), "{ops:?}");
}

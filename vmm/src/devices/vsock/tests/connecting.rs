//! Connections begin: from the guest, from the host, early, in vain, too many.

use std::io::Write;

use super::*;
use crate::bus::QUEUE_NOTIFY_OFFSET;

#[test]
fn a_guest_reaches_a_listed_port_once() {
    let (mut guest, mut far) = connected();
    guest.send(op::RW, 0, b"from the guest");
    assert_eq!(read_all(&mut far), (b"from the guest".to_vec(), false));
    far.write_all(b"from the host").unwrap();
    assert_eq!(guest.expect(op::RW).1, b"from the host");

    let again = guest.header(EPHEMERAL + 1, HOST_PORT, op::REQUEST);
    guest.send_raw(&again, &[]);
    let (reset, _) = guest.expect(op::RST);
    assert_eq!((reset.src_port, reset.dst_port), (HOST_PORT, EPHEMERAL + 1));
}

#[test]
fn a_guest_reaches_no_other_port() {
    let (mut guest, _dir, _far) = started();
    for port in [0, 1, 3, 1 << 30, u32::MAX] {
        let request = guest.header(EPHEMERAL, port, op::REQUEST);
        guest.send_raw(&request, &[]);
        assert_eq!(guest.expect(op::RST).0.src_port, port);
    }
}

#[test]
fn a_host_reaches_a_listening_guest() {
    let (mut guest, dir, _far) = started();
    let mut streams = [connect(&dir), connect(&dir)];
    streams[0].write_all(b"early bytes").unwrap();
    guest.harness.run();
    let requests = [guest.expect(op::REQUEST).0, guest.expect(op::REQUEST).0];
    assert_eq!(requests.map(|request| request.dst_port), [GUEST_PORT; 2]);
    assert_ne!(requests[0].src_port, requests[1].src_port);
    guest.expect_nothing();
    for request in &requests {
        guest.answer(request, op::RESPONSE, 0, &[]);
    }
    assert_eq!(guest.expect(op::RW).1, b"early bytes");
    for (stream, request) in streams.iter_mut().zip(&requests) {
        guest.answer(request, op::RW, 0, b"an answer");
        assert_eq!(read_all(stream), (b"an answer".to_vec(), false));
    }
}

#[test]
fn a_host_that_connects_before_the_guest_listens_is_held() {
    let (mut guest, dir, _far) = device(Duration::from_secs(60));
    let mut stream = connect(&dir);
    stream.write_all(b"patient").unwrap();
    guest.start();
    for _ in 0..5 {
        guest.harness.run_until(|harness| harness.has_used(RX));
        let (request, _) = guest.expect(op::REQUEST);
        guest.answer(&request, op::RST, 0, &[]);
    }
    guest.harness.run_until(|harness| harness.has_used(RX));
    let (request, _) = guest.expect(op::REQUEST);
    guest.answer(&request, op::RESPONSE, 0, &[]);
    assert_eq!(guest.expect(op::RW).1, b"patient");
    assert_eq!(read_all(&mut stream), (Vec::new(), false));
}

#[test]
fn a_guest_that_connects_has_what_was_held_before_it_is_answered() {
    let (mut guest, dir, _far) = device(Duration::from_secs(60));
    let streams = [connect(&dir), connect(&dir)];
    guest.start();
    guest.harness.run_until(|harness| harness.has_used(RX));
    for _ in &streams {
        let (request, _) = guest.expect(op::REQUEST);
        guest.answer(&request, op::RST, 0, &[]);
    }
    guest.send(op::REQUEST, 0, &[]);
    for _ in &streams {
        guest.expect(op::REQUEST);
    }
    assert_eq!(guest.expect(op::RESPONSE).0.src_port, HOST_PORT);
}

#[test]
fn a_host_is_not_held_for_ever() {
    let (mut guest, dir, _far) = device(Duration::ZERO);
    guest.start();
    let mut refused = connect(&dir);
    let mut ignored = connect(&dir);
    guest.harness.run();
    let (request, _) = guest.expect(op::REQUEST);
    guest.answer(&request, op::RST, 0, &[]);
    guest.expect(op::REQUEST);
    let ended = |stream: &mut UnixStream| read_all(stream).1;
    guest.harness.run_until(|_| ended(&mut refused) && ended(&mut ignored));
    // The guest that never answered learns that nobody waits.
    guest.expect(op::RST);
    guest.expect_nothing();
}

#[test]
fn a_host_that_goes_while_it_is_held_is_forgotten() {
    let (mut guest, dir, _far) = started();
    let held = connect(&dir);
    guest.harness.run();
    let (request, _) = guest.expect(op::REQUEST);
    guest.answer(&request, op::RST, 0, &[]);
    drop(held);
    guest.harness.run();
    let asked = connect(&dir);
    guest.harness.run();
    let (request, _) = guest.expect(op::REQUEST);
    drop(asked);
    guest.harness.run();
    guest.answer(&request, op::RST, 0, &[]);
    // No timer is left that would ask again, and none of the two has a slot.
    guest.expect_nothing();
    let late = connect(&dir);
    guest.harness.run();
    let (third, _) = guest.expect(op::REQUEST);
    assert!(third.src_port > request.src_port);
    guest.answer(&third, op::RESPONSE, 0, &[]);
    drop(late);
    guest.harness.run();
    guest.expect(op::SHUTDOWN);
}

#[test]
fn connections_have_a_limit_and_the_rest_waits() {
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(4096), maximum: Some(4096) },
    )
    .unwrap();
    let (mut guest, dir, _far) = started();
    let mut streams = Vec::new();
    let mut requests = Vec::new();
    for _ in 0..1100 {
        streams.push(connect(&dir));
        guest.harness.kick(RX);
        requests.extend(guest.packet());
    }
    assert_eq!(requests.len(), super::super::table::MAX_CONNECTIONS);
    for (request, _) in &requests[..10] {
        guest.answer(request, op::RESPONSE, 0, &[]);
        guest.answer(request, op::RST, 0, &[]);
        guest.expect(op::REQUEST);
    }
}

#[test]
fn a_late_event_of_a_connection_does_not_meet_the_next_one() {
    let (mut guest, dir, _far) = started();
    let first = connect(&dir);
    guest.harness.run();
    let (request, _) = guest.expect(op::REQUEST);
    guest.answer(&request, op::RESPONSE, 0, &[]);

    // All in one turn of the loop: the guest ends the connection, its slot is taken by another, and its socket,
    // which is no more, says that it was hung up.
    let reset = guest.header(GUEST_PORT, request.src_port, op::RST);
    guest.queue(&reset, &[]);
    guest.harness.write(QUEUE_NOTIFY_OFFSET, u32::try_from(TX).unwrap());
    let mut second = connect(&dir);
    drop(first);
    guest.harness.run();

    let (request, _) = guest.expect(op::REQUEST);
    guest.answer(&request, op::RESPONSE, 0, &[]);
    guest.expect_nothing();
    guest.answer(&request, op::RW, 0, b"not hung up");
    assert_eq!(read_all(&mut second), (b"not hung up".to_vec(), false));
}

#[test]
fn a_reset_ends_connections_and_a_new_driver_can_begin() {
    let (mut guest, dir, mut far) = started();
    guest.connect();
    let mut stream = connect(&dir);
    guest.harness.run();
    guest.harness.reset();
    assert!(read_all(&mut stream).1);
    assert!(read_all(&mut far).1);
    guest.next_rx = 0;
    guest.start();
    let _stream = connect(&dir);
    guest.harness.run();
    guest.expect(op::REQUEST);
}

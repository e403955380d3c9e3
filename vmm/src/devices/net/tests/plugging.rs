//! Taps that come and go while the machine runs.

use super::*;
use crate::virtio::harness::register::DEVICE_ID;
use crate::virtio::status;

/// A device that is connected to nothing, before any negotiation, and its cable.
fn unplugged(queues: usize) -> (DeviceHarness, Cable) {
    let cable = Cable::default();
    let mut net = Net::unplugged(queues, cable.clone());
    net.connect = connect;
    (DeviceHarness::new(Box::new(net)), cable)
}

fn plug(harness: &mut DeviceHarness, cable: &Cable) -> Wire {
    let (tap, wire) = Wire::pair();
    cable.plug(config(vec![tap])).unwrap();
    harness.measure().unwrap();
    wire
}

#[test]
fn a_driver_finds_a_device_when_a_tap_has_come_and_none_when_it_has_gone() {
    let (mut harness, cable) = unplugged(1);
    for _ in 0..3 {
        assert_eq!((harness.read(DEVICE_ID), harness.config(6)), (0, vec![0; 6]));
        let wire = plug(&mut harness, &cable);
        assert_eq!((harness.read(DEVICE_ID), harness.config(6)), (1, MAC.to_vec()));
        harness.start(u64::MAX);
        assert!(sent(&mut harness, &wire, &message(&PLAIN, &frame(60, 1))).is_some());
        harness.reset();
        drop(cable.pull());
        harness.measure().unwrap();
        let Wire(end) = wire;
        // Nobody has the other end any more.
        assert!(send(&end, b"x", SendFlags::empty()).is_err());
    }
}

#[test]
fn a_driver_that_keeps_its_queues_loses_them() {
    let (mut harness, cable) = unplugged(1);
    let first = plug(&mut harness, &cable);
    harness.start(u64::MAX);
    drop(cable.pull());
    harness.measure().unwrap();
    assert!(harness.needs_reset());
    harness.add(TX, &[Part::Out(DATA, &message(&PLAIN, &frame(60, 1)))]);
    harness.kick(TX);
    assert_eq!(harness.used(TX), None);
    // Another tap is not for the old driver.
    let second = plug(&mut harness, &cable);
    harness.kick(TX);
    assert_eq!(harness.used(TX), None);
    assert!(first.take().is_none() && second.take().is_none());
    harness.reset();
    harness.start(u64::MAX);
    assert!(sent(&mut harness, &second, &message(&PLAIN, &frame(60, 1))).is_some());
}

#[test]
fn there_is_nothing_to_start_without_a_tap() {
    let (mut harness, cable) = unplugged(1);
    harness.start(u64::MAX);
    assert!(harness.needs_reset());
    // A driver that has taken features of a tap that has gone.
    harness.reset();
    let _wire = plug(&mut harness, &cable);
    harness.negotiate(u64::MAX);
    drop(cable.pull());
    harness.measure().unwrap();
    harness.set_status(status::DRIVER_OK);
    harness.run();
    assert!(harness.needs_reset());
}

#[test]
fn a_tap_must_fit_and_the_place_be_free() {
    let (mut harness, cable) = unplugged(2);
    cable.plug(config(vec![Wire::pair().0])).unwrap();
    assert!(harness.measure().unwrap_err().to_string().contains("of 1 queues"));
    assert_eq!(harness.read(DEVICE_ID), 0);
    let taken = cable.plug(config(vec![Wire::pair().0, Wire::pair().0])).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    cable.pull();
    cable.plug(config(vec![Wire::pair().0, Wire::pair().0])).unwrap();
    harness.measure().unwrap();
    assert_eq!(harness.read(DEVICE_ID), 1);
}

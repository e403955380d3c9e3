//! Disks whose files become longer under a driver.

use std::time::Duration;

use super::*;
use crate::virtio::harness::register;

/// Has the device look at its file, while its event loop runs here.
fn measure(harness: &mut DeviceHarness) -> std::io::Result<u64> {
    let device = harness.transport.device().clone();
    let asking = std::thread::spawn(move || device.measure(Duration::from_secs(60)));
    harness.run_until(|_| asking.is_finished());
    asking.join().unwrap()
}

#[test]
fn a_longer_file_is_a_larger_disk() {
    let (file, mut harness) = writable(MIB);
    let generation = harness.read(register::CONFIG_GENERATION);
    assert_eq!(measure(&mut harness).unwrap(), MIB);
    assert!(!harness.interrupted(), "nothing has changed");
    // What is no whole sector is not shown yet.
    file.set_len(2 * MIB + 100).unwrap();
    assert_eq!(measure(&mut harness).unwrap(), 2 * MIB);
    assert_eq!(harness.read(register::INTERRUPT_STATUS) & 2, 2, "the configuration");
    assert!(harness.interrupted());
    assert_ne!(harness.read(register::CONFIG_GENERATION), generation);
    assert_eq!(harness.config(8), (2 * MIB / 512).to_le_bytes());
    let sector = 2 * MIB / 512 - 1;
    let bytes = pattern(512, 9);
    assert_eq!(request(&mut harness, kind::OUT, sector, &[Part::Out(DATA, &bytes)]).0, OK);
    let mut written = [0; 512];
    file.read_exact_at(&mut written, sector * 512).unwrap();
    assert_eq!(written[..], bytes);
    // It never becomes smaller: what is not there any more fails as it is read.
    file.set_len(MIB).unwrap();
    assert_eq!(measure(&mut harness).unwrap(), 2 * MIB);
    assert_eq!(request(&mut harness, kind::IN, sector, &[Part::In(DATA, 512)]).0, IO_ERROR);
}

#[test]
fn an_image_stays_as_it_is() {
    let mut harness = image(&pattern(8192, 0));
    assert_eq!(measure(&mut harness).unwrap(), 8192);
    assert!(!harness.interrupted());
}

//! The real launcher on a processor that is played: `shim.c`, preloaded under a process of its own, answers for /dev/kvm and
//! /dev/sev and writes down each request with its bytes. Anywhere, without KVM.
//!
//! What cannot be seen here is whether the firmware of a real processor takes the same bytes.
#![expect(clippy::unwrap_used, reason = "a failed test should end there")]

mod faults;
mod kernel;
mod measured;
mod pod;
mod record;
mod requests;
mod run;
mod sev_snp_measure;
mod structures;

use std::fs::File;
use std::io::Write;

use record::LOG;
use vmm::devices::block::DiskConfig;
use vmm::{InitrdPart, Vm, VmConfig};

/// What the others start, with the shim under it.
#[test]
#[ignore = "is started by the other tests"]
fn child() {
    assert!(std::env::var_os(LOG).is_some(), "this test is a part of others");
    let pod = pod::Pod::default();
    let config = VmConfig {
        vcpus: pod.vcpus,
        memory_mib: pod.memory_mib,
        initrd: vec![InitrdPart::File(file_of(&pod.initramfs))],
        disks: vec![DiskConfig::writable(file_of(&[0; 4096]), "disk").unwrap()],
        rng: true,
        snp: Some(pod.config()),
        ..VmConfig::new(file_of(&pod.kernel))
    };
    let ended = match Vm::build(config) {
        Ok(vm) => vm.run().map_err(|error| chain(&error)),
        Err(error) => Err(chain(&error)),
    };
    match ended {
        Ok(exit) => println!("\nended: {exit:?}"),
        Err(error) => println!("\nended: {error}"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let texts = std::iter::successors(Some(error), |error| error.source());
    texts.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

//! Real virtual machines in the test process: tiny guests of a few instructions, and Linux.
//!
//! These tests need a usable /dev/kvm and fail without one; the test runner starts them where there is one.

#![expect(clippy::unwrap_used, reason = "a failed test should end there")]

mod asm;
mod confinement;
#[path = "../snp_recorder/kernel.rs"]
mod kernel;
mod linux;
mod mitigations;
mod net;
mod private;
mod tiny;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::thread;

use vmm::{RunError, Vm, VmConfig, VmExit, VmHandle};

/// Builds and runs a machine in a thread of its own, which keeps the filters and lost privileges to itself.
fn run(config: VmConfig) -> Result<VmExit, RunError> {
    let (_, thread) = start(config);
    thread.join().unwrap()
}

/// As [`run`], but returns while the guest runs.
fn start(config: VmConfig) -> (VmHandle, thread::JoinHandle<Result<VmExit, RunError>>) {
    let vm = Vm::build(config).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let machine = thread::Builder::new().name("machine".to_owned());
    (vm.handle(), machine.spawn(move || vm.run()).unwrap())
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(|error| format!("{error}: ")).collect()
}

/// Names of the timeline's marks so far.
fn marks(handle: &VmHandle) -> Vec<&'static str> {
    handle.timeline().marks().iter().map(|mark| mark.name).collect()
}

/// All that was written to an early console's file.
fn content(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

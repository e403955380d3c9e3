//! What the threads of a running machine may do: nothing but their work.

use std::fs;
use std::thread;

use spec::Stage;
use spec::boot::STAGE_PORT;
use vmm::VmConfig;
use vmm::devices::block::DiskConfig;

use crate::asm::Code;
use crate::{file_of, marks, start};

#[test]
fn every_thread_of_a_machine_is_confined() {
    let config = VmConfig {
        vcpus: 2,
        rng: true,
        disks: vec![DiskConfig::writable(file_of(&[0; 4096]), "disk").unwrap()],
        ..VmConfig::new(Code::default().out(STAGE_PORT, Stage::Init as u8).hang().kernel())
    };
    let (handle, machine) = start(config);
    // A thread confines itself as its first act, which may come after the guest's first instruction.
    while !(marks(&handle).contains(&"init")
        && all_confined(&["devices", "disk0", "machine", "vcpu0", "vcpu1"]))
    {
        assert!(!machine.is_finished());
        thread::yield_now();
    }
    handle.kill();
    machine.join().unwrap().unwrap();
}

/// Whether threads of these names exist, and each has a system call filter, no capabilities and no way to get any.
fn all_confined(names: &[&str]) -> bool {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // A thread of another test may end in between.
    let statuses: Vec<_> =
        tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok()).collect();
    let lines =
        ["Seccomp:\t2\n", "NoNewPrivs:\t1\n", "CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n"];
    names.iter().all(|name| {
        let mut named =
            statuses.iter().filter(|status| status.starts_with(&format!("Name:\t{name}\n"))).peekable();
        named.peek().is_some() && named.all(|status| lines.iter().all(|line| status.contains(line)))
    })
}

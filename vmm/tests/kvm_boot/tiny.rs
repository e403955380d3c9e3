//! Guests of a few instructions, one for each way a machine can end and each thing it can see.

use std::thread;

use spec::Stage;
use spec::boot::STAGE_PORT;
use vmm::{VmConfig, VmExit};

use crate::asm::Code;
use crate::{chain, content, marks, run, start};

/// Code that powers off.
fn power_off(code: Code) -> Code {
    code.out(STAGE_PORT, Stage::PowerOff as u8).hang()
}

#[test]
fn stages_end_in_the_timeline_and_power_off_ends_the_machine() {
    let code = Code::default().out(STAGE_PORT, Stage::Init as u8).out(STAGE_PORT, 0x77);
    let (handle, thread) = start(VmConfig::new(power_off(code.out(STAGE_PORT, Stage::Exec as u8)).kernel()));
    assert_eq!(thread.join().unwrap().unwrap(), VmExit::PowerOff);
    assert_eq!(
        marks(&handle),
        [
            "vm-created",
            "devices",
            "kernel-loaded",
            "initramfs",
            "vm-built",
            "vm-started",
            "guest-entered",
            "init",
            "exec",
            "power-off",
            "guest-ended",
            "vm-joined"
        ]
    );
}

#[test]
fn a_failed_init_is_no_power_off() {
    let code = Code::default().out(STAGE_PORT, Stage::InitFailed as u8).hang();
    assert_eq!(run(VmConfig::new(code.kernel())).unwrap(), VmExit::InitFailed);
}

#[test]
fn a_reset_is_a_panic() {
    assert_eq!(
        run(VmConfig::new(Code::default().out(0x64, 0xfe).hang().kernel())).unwrap(),
        VmExit::GuestPanic
    );
}

#[test]
fn a_fault_without_handlers_is_a_triple_fault() {
    assert_eq!(run(VmConfig::new(Code::default().fault().kernel())).unwrap(), VmExit::TripleFault);
}

#[test]
fn a_guest_that_hangs_is_killed() {
    let code = Code::default().out(STAGE_PORT, Stage::Init as u8).hang();
    let (handle, machine) = start(VmConfig { vcpus: 2, ..VmConfig::new(code.kernel()) });
    while !marks(&handle).contains(&"init") {
        thread::yield_now();
    }
    handle.kill();
    assert_eq!(machine.join().unwrap().unwrap(), VmExit::Killed);
}

#[test]
fn a_machine_that_was_killed_before_it_ran_does_not_run() {
    let vm = vmm::Vm::build(VmConfig::new(Code::default().hang().kernel())).unwrap();
    vm.handle().kill();
    assert_eq!(thread::spawn(move || vm.run()).join().unwrap().unwrap(), VmExit::Killed);
}

#[test]
fn last_words_reach_the_early_console() {
    let file = tempfile::tempfile().unwrap();
    let code = power_off(Code::default().print("hello\nno end"));
    let early_console = Some(file.try_clone().unwrap());
    run(VmConfig { early_console, ..VmConfig::new(code.kernel()) }).unwrap();
    assert_eq!(content(&file), b"hello\nno end");
}

#[test]
fn memory_keeps_what_is_written_and_holes_float() {
    let code =
        Code::default().store(0x3f0_0000, 0x1234_5678).wait_for(0x3f0_0003, 0x12).wait_for(0x400_0000, 0xff);
    let config = VmConfig { memory_mib: 64, ..VmConfig::new(power_off(code).kernel()) };
    assert_eq!(run(config).unwrap(), VmExit::PowerOff);
}

/// The first page of the kernel, its ELF header, is mapped from the file; what a guest writes there is its own.
#[test]
fn a_guest_that_writes_over_its_kernel_changes_neither_the_file_nor_another_guest() {
    let untouched = Code::default().wait_for(0x100_0001, b'E');
    let code = untouched.store(0x100_0000, 0x1234_5678).wait_for(0x100_0001, 0x56);
    let kernel = power_off(code).kernel();
    let before = content(&kernel);
    for _ in 0..2 {
        assert_eq!(run(VmConfig::new(kernel.try_clone().unwrap())).unwrap(), VmExit::PowerOff);
        assert_eq!(content(&kernel), before);
    }
}

/// The page that the guest reads is the kernel's file, the one it runs in is a copy.
#[test]
fn a_kernel_that_becomes_shorter_ends_its_guest_with_the_reason() {
    let code = Code::default().out(STAGE_PORT, Stage::Init as u8).wait_for(0x100_0000, 0).hang();
    let kernel = code.kernel();
    let (handle, machine) = start(VmConfig::new(kernel.try_clone().unwrap()));
    while !marks(&handle).contains(&"init") {
        thread::yield_now();
    }
    kernel.set_len(0).unwrap();
    let error = chain(&machine.join().unwrap().unwrap_err());
    assert!(error.contains("a page of guest memory is gone"), "{error}");
}

#[test]
fn a_flooded_stage_port_marks_each_stage_once() {
    let flood = (0..=u8::MAX)
        .filter(|byte| *byte < 0xf0)
        .fold(Code::default(), |code, byte| code.out(STAGE_PORT, byte));
    let (handle, machine) = start(VmConfig::new(power_off(flood).kernel()));
    machine.join().unwrap().unwrap();
    assert_eq!(marks(&handle).iter().filter(|name| **name == "init").count(), 1);
}

/// The first vCPU starts all others by their local APICs in x2APIC mode, with code at 0x3000 that counts them.
#[test]
fn all_vcpus_start() {
    const COUNTER: u32 = 0x3100;
    for vcpus in [1, 2, 4, 32] {
        // 16-bit: lock inc byte [0x3100]; hlt; jmp -3
        let start_up = [0xf0, 0xfe, 0x06, 0x00, 0x31, 0xf4, 0xeb, 0xfd];
        let code = Code::default().store_bytes(0x3000, &start_up);
        let code = code
            // APIC base: enabled, x2APIC, boot processor.
            .write_msr(0x1b, 0xfee0_0d00)
            // INIT, then start-up at page 3, to all but this one.
            .write_msr(0x830, 0x000c_4500)
            .write_msr(0x830, 0x000c_4603)
            .wait_for(COUNTER, vcpus - 1);
        let config = VmConfig { vcpus, ..VmConfig::new(power_off(code).kernel()) };
        assert_eq!(run(config).unwrap(), VmExit::PowerOff, "{vcpus}");
    }
}

#[test]
fn sizes_out_of_bounds_are_refused() {
    for (vcpus, memory_mib) in [(0, 128), (33, 128), (1, 63), (1, u64::MAX)] {
        let config = VmConfig { vcpus, memory_mib, ..VmConfig::new(Code::default().hang().kernel()) };
        assert!(vmm::Vm::build(config).is_err(), "{vcpus} {memory_mib}");
    }
}

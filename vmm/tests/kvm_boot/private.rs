//! Private memory (guest_memfd) without a processor that encrypts it: KVM's software-protected machines take the path of SNP
//! guests but for the firmware. A KVM without them fails these tests.
//!
//! Such a machine's accesses are what KVM's attributes say, so no access is the wrong kind: memory faults are not seen here.

use spec::Stage;
use spec::boot::STAGE_PORT;
use vmm::snp::{Isolation, SnpConfig};
use vmm::{InitrdPart, VmConfig, VmExit};

use crate::asm::Code;
use crate::kernel::kernel;
use crate::{file_of, run};

/// A page that the guest changes.
const PAGE: u32 = 0x30_0000;
const STAGED: u32 = 0xc000_0000;
const DEVICE: u32 = 0xd000_0000;

/// Attributes of the hypercall.
const PRIVATE: u32 = 1 << 4;
const SHARED: u32 = 0;

const INVALID: i8 = -22;

/// Ends the machine as failed, unless the instruction before has found both sides equal.
fn or_fail(code: Code) -> Code {
    code.bytes(&[0x74, 9]).out(STAGE_PORT, Stage::InitFailed as u8).hang()
}

/// `mov ebx, address; cmp byte [rbx], value`
fn expect(code: Code, address: u32, value: u8) -> Code {
    or_fail(code.bytes(&[0xbb]).bytes(&address.to_le_bytes()).bytes(&[0x80, 0x3b, value]))
}

/// `mov eax, 12; mov ebx, …; mov ecx, …; mov edx, …; vmmcall; cmp rax, expected`
fn convert(code: Code, address: u32, pages: u32, attributes: u32, expected: i8) -> Code {
    let code = code.bytes(&[0xb8, 12, 0, 0, 0, 0xbb]).bytes(&address.to_le_bytes());
    let code = code.bytes(&[0xb9]).bytes(&pages.to_le_bytes());
    let code = code.bytes(&[0xba]).bytes(&attributes.to_le_bytes());
    or_fail(code.bytes(&[0x0f, 0x01, 0xd9, 0x48, 0x83, 0xf8]).bytes(&expected.to_le_bytes()))
}

/// A machine in which that code runs in the stub's place.
fn machine(code: Code) -> VmConfig {
    let stub = code.out(STAGE_PORT, Stage::PowerOff as u8).hang().flat();
    let mut snp = SnpConfig::new(stub, String::new(), b"{}".to_vec());
    snp.isolation = Isolation::Software;
    VmConfig {
        vcpus: 2,
        memory_mib: 64,
        initrd: vec![InitrdPart::File(file_of(b"initramfs"))],
        rng: true,
        snp: Some(snp),
        ..VmConfig::new(file_of(&kernel()))
    }
}

#[test]
fn pages_become_private_and_shared_and_keep_nothing_of_before() {
    let code = expect(Code::default().store(PAGE, 0x11), PAGE, 0x11);
    let code = expect(convert(code, PAGE, 1, PRIVATE, 0), PAGE, 0);
    let code = expect(code.store(PAGE, 0x22), PAGE, 0x22);
    // The same again changes nothing.
    let code = expect(convert(code, PAGE, 1, PRIVATE, 0), PAGE, 0x22);
    let code = expect(convert(code, PAGE, 1, SHARED, 0), PAGE, 0);
    let code = code.store(PAGE, 0x33);
    let code = expect(convert(code, PAGE, 1, PRIVATE, 0), PAGE, 0);
    let code = expect(convert(code, PAGE, 1, SHARED, 0), PAGE, 0);
    assert_eq!(run(machine(code)).unwrap(), VmExit::PowerOff);
}

#[test]
fn much_memory_is_converted_at_once_and_the_rest_is_left_alone() {
    let end = 64 << 20;
    let (first, last) = (0x10_0000, end - 0x1000);
    let code = Code::default().store(0xff_0000, 0x44).store(last, 0x55).store(0x5_0000, 0x66);
    let code = convert(code, first, (end - first) / 0x1000, PRIVATE, 0);
    let code = expect(expect(expect(code, 0xff_0000, 0), last, 0), 0x5_0000, 0x66);
    let code = code.store(last, 0x77);
    let code = convert(code, first, 0x10, SHARED, 0);
    assert_eq!(run(machine(expect(code, last, 0x77))).unwrap(), VmExit::PowerOff);
}

#[test]
fn what_is_not_ram_is_refused() {
    let end = 64 << 20;
    let code = convert(Code::default(), STAGED, 1, PRIVATE, INVALID);
    let code = convert(code, DEVICE, 1, SHARED, INVALID);
    let code = convert(code, end, 1, PRIVATE, INVALID);
    let code = convert(code, end - 0x1000, 2, PRIVATE, INVALID);
    let code = convert(code, PAGE, 0, PRIVATE, INVALID);
    let code = convert(code, PAGE + 1, 1, PRIVATE, INVALID);
    let code = convert(code, PAGE, 1, 1 << 5, INVALID);
    assert_eq!(run(machine(code)).unwrap(), VmExit::PowerOff);
}

/// Staged files are shared memory at their place; a device offers `VERSION_1` and `ACCESS_PLATFORM`.
#[test]
fn the_guest_finds_its_files_and_devices() {
    let code = expect(Code::default(), STAGED + 0x1fe, 0x55);
    // mov ebx, features select; mov dword [rbx], 1; mov ebx, features; cmp dword [rbx], 3
    let code = code.bytes(&[0xbb]).bytes(&(DEVICE + 0x14).to_le_bytes()).bytes(&[0xc7, 0x03, 1, 0, 0, 0]);
    let code = code.bytes(&[0xbb]).bytes(&(DEVICE + 0x10).to_le_bytes()).bytes(&[0x83, 0x3b, 3]);
    assert_eq!(run(machine(or_fail(code))).unwrap(), VmExit::PowerOff);
}

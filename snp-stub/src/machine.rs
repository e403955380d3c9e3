//! The machine under the stub: entry, memory, `PVALIDATE`, and the ways out.
#![expect(unsafe_code, reason = "there is nothing under it but the processor")]

use core::arch::{asm, global_asm};
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use snp_stub::hash_page::SIZE;
use snp_stub::map::{CPUID, HASH_PAGE, PAGE};
use snp_stub::start::{Entry, Machine, NotValidated, start};

// The first vCPU begins at byte 0; RSP is the top of the stack. The others are parked at byte 16 (`map::PARK_OFFSET`).
global_asm!(
    ".section .entry, \"ax\"",
    ".globl stub",
    "stub:",
    "xor ebp, ebp",
    "call {main}",
    "ud2",
    ".org 16, 0xcc",
    "2: pause",
    "jmp 2b",
    main = sym main,
);

/// The register by which guest and host exchange 64 bits (AMD 56421, section 2.3.1).
const GHCB: u32 = 0xc001_0130;
/// A request to end the machine, with reasons of a set of our own.
const TERMINATE: u32 = 0x100;
const REASONS: u32 = 0xc << 12;
/// The code of a panic: an error in the stub.
const PANIC: u8 = 0xff;

extern "C" fn main() -> ! {
    // SAFETY: these are two pages of the launch, which nothing writes to, mapped private by the launch's page tables.
    let hash_page = unsafe { &*with_exposed_provenance::<[u8; SIZE]>(address(HASH_PAGE)) };
    // SAFETY: as above.
    let cpuid = unsafe { &*with_exposed_provenance::<[u8; SIZE]>(address(CPUID)) };
    match start(&mut Memory, hash_page, cpuid) {
        Ok(entry) => enter(entry),
        Err(stop) => terminate(stop.code()),
    }
}

/// Memory, every address mapped to itself.
struct Memory;

impl Machine for Memory {
    fn validate(&mut self, page: u64) -> Result<(), NotValidated> {
        let (result, unchanged): (u64, u8);
        // SAFETY: PVALIDATE (AMD APM volume 3) of a 4 KiB page of RAM that the stub does not use yet; it writes RAX and
        // flags alone.
        unsafe {
            asm!(
                ".byte 0xf2, 0x0f, 0x01, 0xff",
                "setc {unchanged}",
                unchanged = out(reg_byte) unchanged,
                inlateout("rax") page => result,
                in("ecx") 0,
                in("edx") 1,
            );
        }
        match (result & 0xffff_ffff, unchanged) {
            (0, 0) => Ok(()),
            (0, _) => Err(NotValidated::Already),
            _ => Err(NotValidated::Refused),
        }
    }

    fn touch(&mut self, page: u64) {
        let first = with_exposed_provenance::<u8>(address(page));
        // SAFETY: the page has just been validated.
        let _first = unsafe { first.read_volatile() };
        let last = with_exposed_provenance::<u8>(address(page + PAGE - 1));
        // SAFETY: as above.
        let _last = unsafe { last.read_volatile() };
    }

    fn copy(&mut self, source: u64, destination: u64, length: u64) {
        // SAFETY: the hash page has been checked: the source is staged or launched memory, the destination validated RAM.
        // The host may write to the source meanwhile, so it is read by the processor's own loop, once, and by no reference.
        unsafe {
            asm!(
                "rep movsb",
                inout("rcx") length => _,
                inout("rsi") source => _,
                inout("rdi") destination => _,
                options(nostack, preserves_flags),
            );
        }
    }

    fn clear(&mut self, from: u64, length: u64) {
        let first = with_exposed_provenance_mut::<u8>(address(from));
        // SAFETY: the rest of a page that has been validated, of which nothing else has a reference.
        unsafe { first.write_bytes(0, address(length)) };
    }

    fn bytes(&self, from: u64, length: u64) -> &[u8] {
        let first = with_exposed_provenance::<u8>(address(from));
        // SAFETY: validated RAM, written by `copy`; private, and there is no other vCPU, so nobody writes to it.
        unsafe { core::slice::from_raw_parts(first, address(length)) }
    }
}

/// An address of a machine with 64-bit addresses.
#[expect(clippy::cast_possible_truncation, reason = "the target has 64-bit addresses")]
const fn address(address: u64) -> usize {
    address as usize
}

/// Jumps to the kernel as its boot protocol asks for.
fn enter(entry: Entry) -> ! {
    // SAFETY: the kernel there has the hash that was measured; segments and page tables are those that it expects.
    unsafe {
        asm!(
            "xor ebp, ebp",
            "jmp {entry}",
            entry = in(reg) entry.address,
            in("rsi") entry.boot_params,
            options(noreturn),
        );
    }
}

/// Asks the host to end the machine.
fn terminate(code: u8) -> ! {
    let request = TERMINATE | REASONS | u32::from(code) << 16;
    // SAFETY: writes the register for requests to the host and leaves the guest (VMGEXIT). A host that comes back finds an
    // exception without a handler, which ends the machine.
    unsafe {
        asm!(
            "wrmsr",
            "rep vmmcall",
            "ud2",
            in("ecx") GHCB,
            in("eax") request,
            in("edx") 0,
            options(noreturn),
        );
    }
}

#[panic_handler]
fn panic(_panic: &core::panic::PanicInfo<'_>) -> ! {
    terminate(PANIC)
}

//! Boot stages: one byte to one I/O port. Called by the boot recipe, the engine and each new process.
#![expect(unsafe_code, reason = "port I/O and ioperm have no safe wrapper")]

use spec::Stage;
use spec::boot::STAGE_PORT;

/// Tells the VMM that the stage is reached. Where the kernel denies port access, nothing happens: stages are
/// for people, except the last, after which the caller falls back to reboot(2).
///
/// Access is dropped again at once: it would be inherited by a container's process, over exec too.
pub(crate) fn reached(stage: Stage) {
    let port = libc::c_ulong::from(STAGE_PORT);
    // SAFETY: ioperm changes this thread's I/O bitmap and touches no memory.
    if unsafe { libc::ioperm(port, 1, 1) } != 0 {
        return;
    }
    // SAFETY: `out` to a port that the kernel has just allowed writes no memory.
    unsafe {
        std::arch::asm!("out dx, al", in("dx") STAGE_PORT, in("al") stage as u8, options(nomem, nostack, preserves_flags));
    }
    // SAFETY: as above.
    unsafe { libc::ioperm(port, 1, 0) };
}

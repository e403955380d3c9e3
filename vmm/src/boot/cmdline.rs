//! The kernel command line: what every guest gets, one `virtio_mmio.device=` a device, and the caller's extras.

use linux_loader::cmdline::{Cmdline, Error as CmdlineError};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::layout;
use crate::bus::{SLOT_SIZE, Slot};
use crate::memory::GuestMemory;

/// Linux's `COMMAND_LINE_SIZE` on x86, the final NUL included.
pub const MAX_LEN: usize = 2048;

/// The least severe kernel messages that reach the early console of a silent boot: none but emergencies, so
/// that a panic is seen and nothing else costs an exit a byte.
pub const SILENT: u8 = 1;

/// Options of every boot, each with its reason.
const FIXED: [&str; 9] = [
    // A panic's last words: the kernel has no serial driver, but its early console writes port 0x3f8.
    "earlyprintk=ttyS0,115200,keep",
    // Reboot at once after a panic, and do so by the keyboard controller, which the VMM watches.
    "panic=-1",
    "reboot=k",
    // The TSC of a KVM guest is the host's: no watchdog against a timer that is not there.
    "tsc=reliable",
    // No bounce buffers: nothing here does DMA through the kernel's DMA layer, and they cost 64 MiB of a
    // guest with RAM above 4 GiB.
    "swiotlb=noforce",
    // Per-CPU memory in pages, not in units of 2 MiB: the kernel keeps a table of 8 bytes for every 4 of a unit, so
    // that a guest with one CPU would clear and keep 4 MiB with each of its chunks, two of them while a container starts.
    "percpu_alloc=page",
    // With one vCPU Linux would take the lock prefix off 8,000 instructions, and so make a private copy of two
    // thirds of its text, which else stays the page cache's.
    "noreplace-smp",
    // The root of the initramfs is a ramfs, whose files can have the archive's own pages; nothing stays there.
    "rootfstype=ramfs",
    // Linux would keep a request for each of a disk's 256 descriptors: 30 pages a disk. Few are ever under way.
    "virtio_blk.queue_depth=64",
];

/// The command line cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CommandLineError {
    /// Too long, or a character that a command line cannot have.
    #[error("cannot add {option:?} to the kernel command line (at most {} bytes)", MAX_LEN - 1)]
    Add {
        /// What was to be added.
        option: String,
        /// Why not.
        #[source]
        source: CmdlineError,
    },
    /// It cannot be written to guest memory.
    #[error("cannot write the kernel command line")]
    Write(#[source] GuestMemoryError),
}

/// The command line of a guest with the devices of `slots`; `extra` goes last, so that it wins.
///
/// # Errors
/// [`CommandLineError::Add`] where the whole is over [`MAX_LEN`] or `extra` is not printable ASCII.
pub fn compose(log_level: u8, slots: &[Slot], extra: &str) -> Result<String, CommandLineError> {
    let mut line =
        Cmdline::new(MAX_LEN).map_err(|source| CommandLineError::Add { option: String::new(), source })?;
    let mut add = |option: String| match line.insert_str(&option) {
        Ok(()) => Ok(()),
        Err(source) => Err(CommandLineError::Add { option, source }),
    };
    // First: the early console prints the log so far at the moment its own option is read.
    add(format!("loglevel={log_level}"))?;
    for option in FIXED {
        add(option.to_owned())?;
    }
    for slot in slots {
        add(format!("virtio_mmio.device={}K@{:#x}:{}", SLOT_SIZE >> 10, slot.base, slot.gsi))?;
    }
    if !extra.trim().is_empty() {
        add(extra.trim().to_owned())?;
    }
    let text =
        line.as_cstring().map_err(|source| CommandLineError::Add { option: extra.to_owned(), source })?;
    Ok(text.to_string_lossy().into_owned())
}

/// Writes the command line and its final NUL where the boot parameters point.
///
/// # Errors
/// [`CommandLineError::Write`] where guest memory ends before it.
pub(crate) fn write(memory: &GuestMemory, line: &str) -> Result<(), CommandLineError> {
    let mut bytes = line.as_bytes().to_vec();
    bytes.push(0);
    memory.write_slice(&bytes, GuestAddress(layout::CMDLINE)).map_err(CommandLineError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_extras_follow_the_fixed_options() {
        let slots: Vec<_> = (0..2).filter_map(Slot::of).collect();
        let line = compose(SILENT, &slots, " quiet foo=bar ").unwrap();
        let fixed = "loglevel=1 earlyprintk=ttyS0,115200,keep panic=-1 reboot=k ";
        assert!(line.starts_with(fixed), "{line}");
        let rest = " virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6 quiet foo=bar";
        assert!(line.ends_with(rest), "{line}");
    }

    #[test]
    fn the_longest_line_with_all_devices_fits_and_a_longer_one_is_refused() {
        let slots: Vec<_> = (0..).map_while(Slot::of).collect();
        let bare = compose(SILENT, &slots, "").unwrap().len();
        let room = MAX_LEN - 1 - bare - 1;
        assert_eq!(compose(SILENT, &slots, &"x".repeat(room)).unwrap().len(), MAX_LEN - 1);
        assert!(matches!(compose(SILENT, &slots, &"x".repeat(room + 1)), Err(CommandLineError::Add { .. })));
    }

    #[test]
    fn characters_that_end_or_break_the_line_are_refused() {
        for extra in ["a\0b", "a\nb", "a\u{7f}b", "ä"] {
            assert!(matches!(compose(SILENT, &[], extra), Err(CommandLineError::Add { .. })), "{extra:?}");
        }
    }
}

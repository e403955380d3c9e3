//! What of a kernel's file goes where: the program headers of a 64-bit x86 ELF executable (System V ABI, "Object
//! files" and "Program loading"), and what of it is code: its section headers. Read by `kernel`; every number in the file
//! may be a lie.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// Why a file is no kernel.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The header cannot be read.
    #[error("cannot read the kernel's ELF header")]
    ReadHeader(#[source] io::Error),
    /// The file is something else.
    #[error("kernel is no ELF file (a bzImage must be unpacked to its vmlinux)")]
    NotElf,
    /// The file is an ELF for another machine.
    #[error(
        "kernel is no 64-bit x86 ELF executable (class {class}, data {data}, type {kind}, machine {machine})"
    )]
    WrongMachine {
        /// `EI_CLASS`: 2 is 64-bit.
        class: u8,
        /// `EI_DATA`: 1 is little-endian.
        data: u8,
        /// `e_type`: 2 is an executable.
        kind: u16,
        /// `e_machine`: 62 is x86-64.
        machine: u16,
    },
    /// Program headers of another size.
    #[error("kernel has program headers of {size} bytes, not {PROGRAM_HEADER}")]
    ProgramHeaderSize {
        /// `e_phentsize`.
        size: u16,
    },
    /// The program headers cannot be read.
    #[error("cannot read the kernel's {count} program headers at {offset:#x}")]
    ReadProgramHeaders {
        /// Bytes into the file.
        offset: u64,
        /// How many.
        count: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Bytes of the file's header.
const HEADER: usize = 64;
/// Bytes of a program header.
const PROGRAM_HEADER: usize = 56;
/// Bytes of a section header.
const SECTION_HEADER: usize = 64;
/// `PT_LOAD`.
const LOAD: u32 = 1;
/// `SHT_PROGBITS`.
const PROGRAM_BITS: u32 = 1;
/// `SHF_WRITE`, `SHF_ALLOC` and `SHF_EXECINSTR`, and those of code that nobody writes to.
const SECTION_KIND: u64 = 0b111;
const CODE: u64 = 0b110;
/// `PF_W`.
const WRITABLE: u32 = 2;

/// A part of the file that is to be in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Physical address.
    pub(super) address: u64,
    /// Bytes into the file.
    pub(super) offset: u64,
    /// Bytes in the file.
    pub(super) file_len: u64,
    /// Bytes in memory; those behind the file's are zero.
    pub(super) memory_len: u64,
    /// The program writes to it.
    pub(super) writable: bool,
    /// Which bytes of the file's are code, from the segment's first: what no program ever uses for something else. Empty
    /// where the file does not say.
    pub(super) code: Range<u64>,
}

/// A kernel's file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// The entry point, a physical address.
    pub(super) entry: u64,
    /// What to load, in the order of the file; parts without bytes are left out.
    pub(super) segments: Vec<Segment>,
}

/// Reads a kernel's headers.
pub(super) fn read(file: &File) -> Result<Image, ElfError> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).map_err(ElfError::ReadHeader)?;
    if header[..4] != *b"\x7fELF" {
        return Err(ElfError::NotElf);
    }
    let (class, data, kind, machine) = (header[4], header[5], half(&header, 16), half(&header, 18));
    if (class, data, kind, machine) != (2, 1, 2, 62) {
        return Err(ElfError::WrongMachine { class, data, kind, machine });
    }
    let (entry, offset) = (long(&header, 24), long(&header, 32));
    let (size, count) = (half(&header, 54), half(&header, 56));
    if usize::from(size) != PROGRAM_HEADER {
        return Err(ElfError::ProgramHeaderSize { size });
    }
    let mut table = vec![0; usize::from(count) * PROGRAM_HEADER];
    file.read_exact_at(&mut table, offset).map_err(|source| ElfError::ReadProgramHeaders {
        offset,
        count,
        source,
    })?;
    let sections = sections(file, &header);
    let segment = |header: &[u8]| {
        let (offset, file_len) = (long(header, 8), long(header, 32));
        let writable = word(header, 4) & WRITABLE != 0;
        let code = if writable { 0..0 } else { code(&sections, offset, file_len) };
        Segment { address: long(header, 24), offset, file_len, memory_len: long(header, 40), writable, code }
    };
    let headers = table.chunks_exact(PROGRAM_HEADER).filter(|header| word(header, 0) == LOAD);
    let segments = headers.map(segment).filter(|segment| segment.memory_len != 0 || segment.file_len != 0);
    Ok(Image { entry, segments: segments.collect() })
}

/// The section headers; none where they are not as they should be: a kernel runs without.
fn sections(file: &File, header: &[u8; HEADER]) -> Vec<u8> {
    let (offset, size, count) = (long(header, 40), half(header, 58), half(header, 60));
    let mut table = vec![0; usize::from(count) * SECTION_HEADER];
    let read = usize::from(size) == SECTION_HEADER && file.read_exact_at(&mut table, offset).is_ok();
    if read { table } else { Vec::new() }
}

/// The first section of code within a segment, in bytes from its first.
fn code(sections: &[u8], offset: u64, file_len: u64) -> Range<u64> {
    let headers = sections.chunks_exact(SECTION_HEADER);
    let code =
        headers.filter(|header| word(header, 4) == PROGRAM_BITS && long(header, 8) & SECTION_KIND == CODE);
    let mut ranges = code.filter_map(|header| {
        let start = long(header, 24).checked_sub(offset)?;
        let end = start.checked_add(long(header, 32))?;
        (end <= file_len).then_some(start..end)
    });
    ranges.next().unwrap_or(0..0)
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(kind: u32, flags: u64, offset: u64, size: u64) -> Vec<u8> {
        let mut header = vec![0; 4];
        header.extend(kind.to_le_bytes());
        for word in [flags, 0, offset, size] {
            header.extend(word.to_le_bytes());
        }
        header.resize(SECTION_HEADER, 0);
        header
    }

    #[test]
    fn code_is_what_is_executed_and_not_written() {
        let sections = [
            section(PROGRAM_BITS, 0b010, 0x1000, 0x100),
            section(8, 0b110, 0x1000, 0x100),
            section(PROGRAM_BITS, 0b111, 0x1000, 0x100),
            section(PROGRAM_BITS, 0b110, 0x1100, 0x200),
        ];
        assert_eq!(code(&sections.concat(), 0x1000, 0x300), 0x100..0x300);
        assert_eq!(code(&sections[..3].concat(), 0x1000, 0x300), 0..0);
    }

    #[test]
    fn code_outside_of_the_segment_is_none() {
        for (offset, size) in [(0xfff, 1), (0x1000, 0x301), (0x1300, 1), (u64::MAX, 1), (0x1000, u64::MAX)] {
            let sections = section(PROGRAM_BITS, 0b110, offset, size);
            assert_eq!(code(&sections, 0x1000, 0x300), 0..0, "{offset:#x} {size:#x}");
        }
    }
}

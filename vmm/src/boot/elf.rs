//! What of a kernel's file goes where: the program headers of a 64-bit x86 ELF executable (System V ABI, "Object
//! files" and "Program loading"). Read by `kernel`; every number in the file may be a lie.

use std::fs::File;
use std::io;
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
/// `PT_LOAD`.
const LOAD: u32 = 1;
/// `PF_W`.
const WRITABLE: u32 = 2;

/// A part of the file that is to be in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    let segment = |header: &[u8]| Segment {
        offset: long(header, 8),
        address: long(header, 24),
        file_len: long(header, 32),
        memory_len: long(header, 40),
        writable: word(header, 4) & WRITABLE != 0,
    };
    let headers = table.chunks_exact(PROGRAM_HEADER).filter(|header| word(header, 0) == LOAD);
    let segments = headers.map(segment).filter(|segment| segment.memory_len != 0 || segment.file_len != 0);
    Ok(Image { entry, segments: segments.collect() })
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

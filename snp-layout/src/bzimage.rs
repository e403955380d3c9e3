//! The setup header of a bzImage (Linux: Documentation/arch/x86/boot.rst): what is needed to enter it at its 64-bit entry
//! point without a boot loader. The file comes with the runtime package; it is read as a stranger's.

/// A kernel that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BzImage {
    /// The setup header, from offset 0x1f1 of the file.
    pub header: Vec<u8>,
    /// Bytes of the file before the code of the protected mode.
    pub setup_size: u64,
    /// Where that code is loaded.
    pub address: u64,
    /// Bytes from there that the kernel needs for itself before it knows the memory map.
    pub init_size: u64,
}

/// A file cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BzImageError {
    /// Shorter than its header, or than the setup code that the header tells of.
    #[error("the kernel ends within its setup code")]
    Short,
    /// No boot flag or no `HdrS`.
    #[error("the kernel is no bzImage")]
    Magic,
    /// An older boot protocol than 2.12, or a kernel without a 64-bit entry point.
    #[error("the kernel has no 64-bit entry point (boot protocol {version:#06x})")]
    EntryPoint {
        /// The version of the boot protocol.
        version: u16,
    },
}

/// Where the header is in the file.
pub const HEADER: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
/// Set where the header ends: 0x202 plus the byte at 0x201.
const HEADER_LENGTH: usize = 0x201;
const VERSION: usize = 0x206;
const XLOADFLAGS: usize = 0x236;
const PREF_ADDRESS: usize = 0x258;
const INIT_SIZE: usize = 0x260;
/// The header of protocol 2.12 ends behind `handover_offset`.
const HEADER_MIN: usize = 0x268;
const SECTOR: u64 = 512;
/// Setup sectors that 0 stands for.
const SECTORS_DEFAULT: u8 = 4;
const PROTOCOL_MIN: u16 = 0x020c;
const XLF_KERNEL_64: u16 = 1;
/// The 64-bit entry point, from the code's start.
pub const ENTRY: u64 = 0x200;

impl BzImage {
    /// Reads the header of a kernel.
    ///
    /// # Errors
    /// See [`BzImageError`].
    pub fn parse(file: &[u8]) -> Result<Self, BzImageError> {
        if file.len() < HEADER_MIN {
            return Err(BzImageError::Short);
        }
        if u16_at(file, BOOT_FLAG) != 0xaa55 || file[MAGIC..MAGIC + 4] != *b"HdrS" {
            return Err(BzImageError::Magic);
        }
        let version = u16_at(file, VERSION);
        let header_end = MAGIC + usize::from(file[HEADER_LENGTH]);
        if version < PROTOCOL_MIN || u16_at(file, XLOADFLAGS) & XLF_KERNEL_64 == 0 || header_end < HEADER_MIN
        {
            return Err(BzImageError::EntryPoint { version });
        }
        let sectors = if file[HEADER] == 0 { SECTORS_DEFAULT } else { file[HEADER] };
        let setup_size = (u64::from(sectors) + 1) * SECTOR;
        if (file.len() as u64) <= setup_size + ENTRY {
            return Err(BzImageError::Short);
        }
        Ok(Self {
            header: file.get(HEADER..header_end).ok_or(BzImageError::Short)?.to_vec(),
            setup_size,
            address: u64_at(file, PREF_ADDRESS),
            init_size: u64::from(u32::from_le_bytes(array_at(file, INIT_SIZE))),
        })
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|slice| slice.try_into().ok()).unwrap_or([0; N])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

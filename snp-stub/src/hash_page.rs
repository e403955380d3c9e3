//! The hash page: which memory the stub makes its own, which bytes it takes from where to where, and their SHA-256.
//!
//! It is measured, so that whatever it says is what the verifier predicted. The stub checks it all the same: a layout
//! that is wrong ends the machine, it does not run another one than was meant. Numbers are little-endian.
//!
//! | offset | what |
//! |---|---|
//! | 0 | `CRADLSNP` |
//! | 8, 12, 16, 20 | u32: version, parts, ranges, position of the encryption bit (0: none) |
//! | 24, 32 | u64: where Linux is entered, the boot parameters |
//! | 64 | [`MAX_PARTS`] parts of 64 bytes: name\[8\], source, destination, length, SHA-256\[32\] |
//! | 576 | [`MAX_RANGES`] ranges of 16 bytes: start, end |

use crate::map::{
    ACPI, ARCHIVE, BASE_MEMORY_END, BIOS_DATA, HIGH_MEMORY, LAUNCHED_END, MAPPED_END, PAGE, RAM_ABOVE,
    SECRETS, STAGING, STAGING_SIZE, STUB,
};

/// The first bytes.
pub const MAGIC: [u8; 8] = *b"CRADLSNP";
/// The version of the page.
pub const VERSION: u32 = 1;
/// The most parts.
pub const MAX_PARTS: usize = 8;
/// The most ranges.
pub const MAX_RANGES: usize = 8;
/// The page's size.
pub const SIZE: usize = 4096;

const PARTS: usize = 64;
const PART_SIZE: usize = 64;
const RANGES: usize = PARTS + MAX_PARTS * PART_SIZE;
const RANGE_SIZE: usize = 16;
const END: usize = RANGES + MAX_RANGES * RANGE_SIZE;

/// Bytes that the stub copies and then hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// For people: ASCII, filled up with zeros.
    pub name: [u8; 8],
    /// Where they are: staged by the host, or on a page of the launch.
    pub source: u64,
    /// Where they go, in RAM.
    pub destination: u64,
    /// Bytes.
    pub length: u64,
    /// Of the copy.
    pub sha256: [u8; 32],
}

/// RAM to be validated: from `start` up to `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
}

/// The page's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashPage {
    /// The bit of a page table's entry that makes a page private; 0 for a machine without encryption.
    pub c_bit: u32,
    /// The kernel's 64-bit entry point.
    pub entry: u64,
    /// The boot parameters.
    pub boot_params: u64,
    parts: [Part; MAX_PARTS],
    part_count: usize,
    ranges: [Range; MAX_RANGES],
    range_count: usize,
}

/// What is wrong with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// It does not begin with [`MAGIC`].
    Magic = 1,
    /// Another version.
    Version = 2,
    /// More parts or ranges than there is room for, or none.
    Count = 3,
    /// Bytes without a meaning are not zero.
    Reserved = 4,
    /// A range is empty, not of whole pages, not above the one before, or not RAM that is validated.
    Range = 5,
    /// A part is taken from what is neither staged nor launched.
    Source = 6,
    /// A part does not go to RAM that is validated, or not behind the part before.
    Destination = 7,
    /// The kernel is entered outside of the first part.
    Entry = 8,
    /// The encryption bit is no bit of a physical address.
    EncryptionBit = 9,
}

impl HashPage {
    /// A page without parts and ranges.
    #[must_use]
    pub fn new(c_bit: u32, entry: u64, boot_params: u64) -> Self {
        Self { c_bit, entry, boot_params, ..Self::default() }
    }

    /// Adds a part behind the others.
    ///
    /// # Errors
    /// [`Refusal::Count`] where there is no room.
    pub fn push_part(&mut self, part: Part) -> Result<(), Refusal> {
        *self.parts.get_mut(self.part_count).ok_or(Refusal::Count)? = part;
        self.part_count += 1;
        Ok(())
    }

    /// Adds a range behind the others.
    ///
    /// # Errors
    /// [`Refusal::Count`] where there is no room.
    pub fn push_range(&mut self, range: Range) -> Result<(), Refusal> {
        *self.ranges.get_mut(self.range_count).ok_or(Refusal::Count)? = range;
        self.range_count += 1;
        Ok(())
    }

    /// The parts, in the order in which they are copied.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        self.parts.get(..self.part_count).unwrap_or_default()
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        self.ranges.get(..self.range_count).unwrap_or_default()
    }

    /// The bytes of the page.
    #[must_use]
    pub fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &count(self.part_count).to_le_bytes());
        put(&mut bytes, 16, &count(self.range_count).to_le_bytes());
        put(&mut bytes, 20, &self.c_bit.to_le_bytes());
        put(&mut bytes, 24, &self.entry.to_le_bytes());
        put(&mut bytes, 32, &self.boot_params.to_le_bytes());
        for (index, part) in self.parts().iter().enumerate() {
            let at = PARTS + index * PART_SIZE;
            put(&mut bytes, at, &part.name);
            put(&mut bytes, at + 8, &part.source.to_le_bytes());
            put(&mut bytes, at + 16, &part.destination.to_le_bytes());
            put(&mut bytes, at + 24, &part.length.to_le_bytes());
            put(&mut bytes, at + 32, &part.sha256);
        }
        for (index, range) in self.ranges().iter().enumerate() {
            put(&mut bytes, RANGES + index * RANGE_SIZE, &range.start.to_le_bytes());
            put(&mut bytes, RANGES + index * RANGE_SIZE + 8, &range.end.to_le_bytes());
        }
        bytes
    }

    /// Reads a page and checks all that it says.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn decode(bytes: &[u8; SIZE]) -> Result<Self, Refusal> {
        if bytes.get(..8) != Some(&MAGIC) {
            return Err(Refusal::Magic);
        }
        if u32_at(bytes, 8) != VERSION {
            return Err(Refusal::Version);
        }
        let parts = usize::try_from(u32_at(bytes, 12)).map_err(|_large| Refusal::Count)?;
        let ranges = usize::try_from(u32_at(bytes, 16)).map_err(|_large| Refusal::Count)?;
        if !(1..=MAX_PARTS).contains(&parts) || !(1..=MAX_RANGES).contains(&ranges) {
            return Err(Refusal::Count);
        }
        let unused =
            [40..PARTS, PARTS + parts * PART_SIZE..RANGES, RANGES + ranges * RANGE_SIZE..END, END..SIZE];
        if unused
            .into_iter()
            .any(|range| bytes.get(range).is_none_or(|bytes| bytes.iter().any(|byte| *byte != 0)))
        {
            return Err(Refusal::Reserved);
        }
        let mut page = Self::new(u32_at(bytes, 20), u64_at(bytes, 24), u64_at(bytes, 32));
        for index in 0..parts {
            page.push_part(part_at(bytes, PARTS + index * PART_SIZE))?;
        }
        for index in 0..ranges {
            let at = RANGES + index * RANGE_SIZE;
            page.push_range(Range { start: u64_at(bytes, at), end: u64_at(bytes, at + 8) })?;
        }
        page.check()?;
        Ok(page)
    }

    /// Checks what the stub relies on.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn check(&self) -> Result<(), Refusal> {
        // Below 32 lie addresses of the first 4 GiB, from 52 on no addresses at all.
        if self.c_bit != 0 && !(40..52).contains(&self.c_bit) {
            return Err(Refusal::EncryptionBit);
        }
        let mut end = 0;
        for range in self.ranges() {
            if !range.is_ram() || range.start < end {
                return Err(Refusal::Range);
            }
            end = range.end;
        }
        let mut end = 0;
        for part in self.parts() {
            if !is_source(part.source, part.length) {
                return Err(Refusal::Source);
            }
            let inside = |range: &Range| range.holds(part.destination, part.length);
            if !self.ranges().iter().any(inside) || part.destination < end {
                return Err(Refusal::Destination);
            }
            end = part.destination + part.length;
        }
        let kernel = self.parts().first().ok_or(Refusal::Count)?;
        let entered = Range { start: kernel.destination, end: kernel.destination + kernel.length };
        if !entered.holds(self.entry, 1) {
            return Err(Refusal::Entry);
        }
        let params = Range { start: STUB, end: LAUNCHED_END };
        if params.holds(self.boot_params, PAGE) { Ok(()) } else { Err(Refusal::Entry) }
    }
}

impl Range {
    /// Whether that many bytes from there are in it.
    #[must_use]
    pub fn holds(&self, address: u64, length: u64) -> bool {
        address >= self.start && address.checked_add(length).is_some_and(|end| end <= self.end)
    }

    /// Whether it is whole pages of RAM that no page of the launch and no device can be in.
    fn is_ram(&self) -> bool {
        let ram = [
            Self { start: BIOS_DATA + PAGE, end: STUB },
            Self { start: LAUNCHED_END, end: BASE_MEMORY_END },
            Self { start: HIGH_MEMORY, end: STAGING },
            Self { start: RAM_ABOVE, end: MAPPED_END },
        ];
        let whole = self.start.is_multiple_of(PAGE) && self.end.is_multiple_of(PAGE) && self.start < self.end;
        whole && ram.iter().any(|ram| self.start >= ram.start && self.end <= ram.end)
    }
}

/// Whether a part can be taken from there: staged, or on the launched pages that hold what is to be copied.
fn is_source(source: u64, length: u64) -> bool {
    let staged = Range { start: STAGING, end: STAGING + STAGING_SIZE };
    staged.holds(source, length) || is_launched_source(source, length)
}

/// Whether a part lies on the launched pages.
#[must_use]
pub fn is_launched_source(source: u64, length: u64) -> bool {
    const { assert!(ACPI < ARCHIVE && SECRETS == ARCHIVE + PAGE) };
    Range { start: ARCHIVE, end: SECRETS }.holds(source, length)
}

fn part_at(bytes: &[u8; SIZE], at: usize) -> Part {
    Part {
        name: array_at(bytes, at),
        source: u64_at(bytes, at + 8),
        destination: u64_at(bytes, at + 16),
        length: u64_at(bytes, at + 24),
        sha256: array_at(bytes, at + 32),
    }
}

fn put(bytes: &mut [u8; SIZE], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn array_at<const N: usize>(bytes: &[u8; SIZE], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|slice| slice.try_into().ok()).unwrap_or([0; N])
}

fn u32_at(bytes: &[u8; SIZE], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8; SIZE], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

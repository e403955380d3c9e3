//! What the stub does, over any machine: validates RAM, takes the parts, hashes what it took, and says where Linux begins.

use crate::hash_page::{HashPage, Refusal, SIZE};
use crate::map::PAGE;
use crate::sha256::sha256;

/// What the stub can do to the memory under it. Addresses are those of the hash page, which has been checked.
pub trait Machine {
    /// Makes a page of RAM the guest's own (`PVALIDATE`).
    ///
    /// # Errors
    /// The processor's answer, where that is not that it was not so before and is now.
    fn validate(&mut self, page: u64) -> Result<(), NotValidated>;
    /// Reads the first and the last byte of a page: one that is not there traps now, and not when Linux runs.
    fn touch(&mut self, page: u64);
    /// Copies bytes.
    fn copy(&mut self, source: u64, destination: u64, length: u64);
    /// Writes zeros.
    fn clear(&mut self, address: u64, length: u64);
    /// The guest's own bytes.
    fn bytes(&self, address: u64, length: u64) -> &[u8];
}

/// A page did not become the guest's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotValidated {
    /// The processor refuses.
    Refused,
    /// It was so before: the host has put one page of its memory at two addresses, or this one twice.
    Already,
}

/// Why the machine ends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The hash page.
    HashPage(Refusal),
    /// The CPUID page tells of another encryption bit than the page tables have, or of none.
    EncryptionBit,
    /// A page of RAM.
    Page(NotValidated),
    /// A part, by its number, is not what was measured.
    Hash(u8),
}

impl Stop {
    /// The code that the host is told.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::HashPage(refusal) => 0x10 | refusal as u8,
            Self::EncryptionBit => 0x20,
            Self::Page(NotValidated::Refused) => 0x30,
            Self::Page(NotValidated::Already) => 0x31,
            Self::Hash(part) => 0x40 | (part & 0xf),
        }
    }
}

/// Where Linux begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The kernel's 64-bit entry point.
    pub address: u64,
    /// The boot parameters.
    pub boot_params: u64,
}

/// Prepares memory as the hash page says.
///
/// # Errors
/// See [`Stop`].
pub fn start(machine: &mut impl Machine, page: &[u8; SIZE], cpuid: &[u8; SIZE]) -> Result<Entry, Stop> {
    let page = HashPage::decode(page).map_err(Stop::HashPage)?;
    if page.c_bit != 0 && encryption_bit(cpuid) != Some(page.c_bit) {
        return Err(Stop::EncryptionBit);
    }
    for range in page.ranges() {
        let mut address = range.start;
        while address < range.end {
            machine.validate(address).map_err(Stop::Page)?;
            machine.touch(address);
            address += PAGE;
        }
    }
    for part in page.parts() {
        machine.copy(part.source, part.destination, part.length);
        // A later part may begin on the same page, and is copied later.
        let end = part.destination + part.length;
        machine.clear(end, end.next_multiple_of(PAGE) - end);
    }
    for (number, part) in (0..).zip(page.parts()) {
        if sha256(machine.bytes(part.destination, part.length)) != part.sha256 {
            return Err(Stop::Hash(number));
        }
    }
    Ok(Entry { address: page.entry, boot_params: page.boot_params })
}

/// The leaf of memory encryption, whose EBX has the bit's position.
const ENCRYPTION: u32 = 0x8000_001f;

/// What the CPUID page says: a count, twelve bytes, and entries of 48 bytes.
fn encryption_bit(page: &[u8; SIZE]) -> Option<u32> {
    let (words, _) = page.as_chunks::<4>();
    let word = |index: usize| words.get(index).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let count = usize::try_from(word(0)).ok().filter(|count| *count <= 64)?;
    let entry = (0..count).map(|entry| 4 + entry * 12).find(|entry| word(*entry) == ENCRYPTION)?;
    Some(word(entry + 7) & 0x3f)
}

//! The stub's work over a machine that plays memory, and watches what is done to it.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use fuzz::Random;
use sha2::{Digest, Sha256};
use snp_stub::hash_page::{Range, SIZE};
use snp_stub::map::{ARCHIVE, BOOT_PARAMS, HIGH_MEMORY, LAUNCHED_END, PAGE, STAGING};
use snp_stub::sha256::sha256;
use snp_stub::start::{Entry, Machine, NotValidated, Stop, start};
use snp_stub::{HashPage, Part, Refusal};

const SIZE_OF_RAM: usize = 4 << 20;
const KERNEL: u64 = 0x20_0000;

/// Memory, and how often each page was validated.
struct Played {
    ram: Vec<u8>,
    sources: BTreeMap<u64, Vec<u8>>,
    validated: BTreeMap<u64, u32>,
    refused: BTreeMap<u64, NotValidated>,
    touched: Option<u64>,
    copied: usize,
    /// Staged bytes change when this part was copied.
    change_after: Option<usize>,
}

impl Played {
    fn place(address: u64, length: u64) -> std::ops::Range<usize> {
        let start = usize::try_from(address).unwrap();
        start..start + usize::try_from(length).unwrap()
    }

    fn assert_validated(&self, address: u64, length: u64) {
        let mut pages = (address / PAGE..(address + length).div_ceil(PAGE)).map(|page| page * PAGE);
        assert!(pages.all(|page| self.validated.contains_key(&page)), "{address:#x}");
    }
}

impl Machine for Played {
    fn validate(&mut self, page: u64) -> Result<(), NotValidated> {
        assert_eq!((page % PAGE, self.copied), (0, 0));
        assert_eq!(self.touched, self.validated.last_key_value().map(|(page, _)| *page), "not touched");
        *self.validated.entry(page).or_default() += 1;
        self.refused.get(&page).map_or(Ok(()), |refused| Err(*refused))
    }

    fn touch(&mut self, page: u64) {
        assert!(self.validated.contains_key(&page));
        self.touched = Some(page);
    }

    fn copy(&mut self, source: u64, destination: u64, length: u64) {
        self.assert_validated(destination, length);
        let bytes = &self.sources[&source];
        assert_eq!(bytes.len() as u64, length);
        self.ram[Self::place(destination, length)].copy_from_slice(bytes);
        self.copied += 1;
        if self.change_after == Some(self.copied) {
            self.sources.values_mut().for_each(|bytes| bytes.fill(0xee));
        }
    }

    fn clear(&mut self, address: u64, length: u64) {
        self.assert_validated(address, length);
        self.ram[Self::place(address, length)].fill(0);
    }

    fn bytes(&self, address: u64, length: u64) -> &[u8] {
        assert_eq!(self.copied, 3, "hashed before all was copied");
        &self.ram[Self::place(address, length)]
    }
}

/// A machine with three staged parts, its hash page, and a CPUID page with the encryption bit.
fn machine() -> (Played, HashPage, [u8; SIZE]) {
    let mut random = Random::new(0x5eed_0008);
    let mut bytes = |length: usize| (0..length).map(|_| random.byte()).collect::<Vec<_>>();
    let parts = [
        (STAGING, KERNEL - 0x1000, bytes(0x5_0123)),
        (ARCHIVE, 0x30_0000, bytes(124)),
        (STAGING + 0x10_0000, 0x30_0000 + 124, bytes(5000)),
    ];
    let mut page = HashPage::new(51, KERNEL + 0x200, BOOT_PARAMS);
    for (start, end) in [(0x1000, 0x1_0000), (LAUNCHED_END, 0xa_0000), (HIGH_MEMORY, SIZE_OF_RAM as u64)] {
        page.push_range(Range { start, end }).unwrap();
    }
    for (source, destination, bytes) in &parts {
        let (length, sha256) = (bytes.len() as u64, Sha256::digest(bytes).into());
        page.push_part(Part {
            name: *b"part\0\0\0\0",
            source: *source,
            destination: *destination,
            length,
            sha256,
        })
        .unwrap();
    }
    let played = Played {
        // What the host left there.
        ram: vec![0xaa; SIZE_OF_RAM],
        sources: parts.into_iter().map(|(source, _, bytes)| (source, bytes)).collect(),
        validated: BTreeMap::new(),
        refused: BTreeMap::new(),
        touched: None,
        copied: 0,
        change_after: None,
    };
    (played, page, cpuid(51))
}

fn cpuid(bit: u32) -> [u8; SIZE] {
    let mut page = [0; SIZE];
    page[..4].copy_from_slice(&2_u32.to_le_bytes());
    let entry = 16 + 48;
    page[entry..entry + 4].copy_from_slice(&0x8000_001f_u32.to_le_bytes());
    page[entry + 28..entry + 32].copy_from_slice(&(bit | 1 << 6).to_le_bytes());
    page
}

#[test]
fn each_page_of_ram_is_validated_once_and_no_page_of_the_launch() {
    let (mut played, page, cpuid) = machine();
    let entry = start(&mut played, &page.encode(), &cpuid);
    assert_eq!(entry, Ok(Entry { address: KERNEL + 0x200, boot_params: BOOT_PARAMS }));
    assert!(played.validated.values().all(|times| *times == 1));
    let validated: Vec<_> = played.validated.keys().copied().collect();
    let ranges = [(0x1000, 0x1_0000), (LAUNCHED_END, 0xa_0000), (HIGH_MEMORY, SIZE_OF_RAM as u64)];
    let expected: Vec<_> = ranges.into_iter().flat_map(|(start, end)| (start..end).step_by(4096)).collect();
    assert_eq!(validated, expected);
    assert_eq!(played.touched, Some(SIZE_OF_RAM as u64 - PAGE));
    // What is behind the last part is the guest's own zeros, up to the page's end.
    let end = 0x30_0000 + 124 + 5000;
    assert_eq!(played.ram[end..0x30_2000], vec![0; 0x30_2000 - end]);
    assert_eq!(played.ram[0x30_2000], 0xaa);
}

#[test]
fn a_page_that_is_valid_already_or_refused_ends_the_machine() {
    for (refused, code) in [(NotValidated::Already, 0x31), (NotValidated::Refused, 0x30)] {
        let (mut played, page, cpuid) = machine();
        played.refused.insert(0x12_3000, refused);
        let stop = start(&mut played, &page.encode(), &cpuid).unwrap_err();
        assert_eq!((stop, stop.code(), played.copied), (Stop::Page(refused), code, 0));
        assert!(!played.validated.contains_key(&0x12_4000));
    }
}

#[test]
fn each_part_has_to_have_its_hash() {
    let sources: Vec<_> = machine().0.sources.keys().copied().collect();
    for (source, number) in sources.into_iter().zip([1, 0, 2]) {
        let (mut played, page, cpuid) = machine();
        played.sources.get_mut(&source).unwrap()[77] ^= 1;
        assert_eq!(start(&mut played, &page.encode(), &cpuid), Err(Stop::Hash(number)));
    }
}

#[test]
fn what_is_staged_may_change_once_it_was_copied() {
    let (mut played, page, cpuid) = machine();
    played.change_after = Some(3);
    assert!(start(&mut played, &page.encode(), &cpuid).is_ok());
    let (mut played, page, cpuid) = machine();
    played.change_after = Some(2);
    assert_eq!(start(&mut played, &page.encode(), &cpuid), Err(Stop::Hash(2)));
}

#[test]
fn the_encryption_bit_is_the_processors() {
    let (mut played, page, _) = machine();
    for wrong in [cpuid(47), [0; SIZE], [0xff; SIZE]] {
        assert_eq!(start(&mut played, &page.encode(), &wrong), Err(Stop::EncryptionBit));
    }
    assert!(played.validated.is_empty());
    let mut plain = page;
    plain.c_bit = 0;
    assert!(start(&mut played, &plain.encode(), &[0; SIZE]).is_ok());
}

#[test]
fn a_page_that_is_no_hash_page_ends_the_machine_and_codes_differ() {
    let (mut played, _, cpuid) = machine();
    assert_eq!(start(&mut played, &[0; SIZE], &cpuid), Err(Stop::HashPage(Refusal::Magic)));
    assert!(played.validated.is_empty());
    let refusals =
        [Refusal::Magic, Refusal::Version, Refusal::Count, Refusal::Reserved, Refusal::EncryptionBit];
    let mut codes: Vec<_> = refusals.into_iter().map(|refusal| Stop::HashPage(refusal).code()).collect();
    codes.extend(
        [Stop::EncryptionBit, Stop::Page(NotValidated::Already), Stop::Hash(0), Stop::Hash(4)]
            .map(Stop::code),
    );
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), count);
}

#[test]
fn the_hash_is_sha_256() {
    let mut random = Random::new(0x5eed_0009);
    let lengths = (0..200).chain([4096, 65537]).chain((0..50).map(|_| random.below(1 << 14)));
    for length in lengths.collect::<Vec<_>>() {
        let bytes: Vec<_> = (0..length).map(|_| random.byte()).collect();
        assert_eq!(sha256(&bytes)[..], Sha256::digest(&bytes)[..], "{length} bytes");
    }
}

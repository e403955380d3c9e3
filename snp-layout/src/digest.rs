//! The launch digest: what the processor's firmware computes page by page, and reports as the measurement (AMD 56860,
//! section 8.17, PAGE_INFO).

use sha2::{Digest, Sha384};

use crate::page::{Contents, Page, PageKind};

/// Where the registers of a vCPU are measured: no address of the guest's memory.
pub const VMSA_GPA: u64 = 0xffff_ffff_f000;
/// `PAGE_TYPE` of a vCPU's registers.
pub const VMSA_TYPE: u8 = 2;

/// Bytes of the structure that is hashed for each page.
const INFO_SIZE: u16 = 0x70;

/// The digest of the pages so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaunchDigest([u8; 48]);

impl Default for LaunchDigest {
    /// That of no page.
    fn default() -> Self {
        Self([0; 48])
    }
}

impl LaunchDigest {
    /// Adds a page.
    pub fn add(&mut self, page: &Page) {
        let contents = match &page.kind {
            PageKind::Normal(bytes) => hash(&bytes[..]),
            PageKind::Zero | PageKind::Unmeasured | PageKind::Secrets | PageKind::Cpuid => [0; 48],
        };
        self.update(page.kind.code(), page.gpa, &contents);
    }

    /// Adds the registers of a vCPU.
    pub fn add_vmsa(&mut self, vmsa: &Contents) {
        self.update(VMSA_TYPE, VMSA_GPA, &hash(vmsa));
    }

    /// The digest of pages in the order in which they are launched.
    #[must_use]
    pub fn of<'a>(pages: impl IntoIterator<Item = &'a Page>) -> Self {
        let mut digest = Self::default();
        pages.into_iter().for_each(|page| digest.add(page));
        digest
    }

    /// The bytes, as a report has them.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 48] {
        &self.0
    }

    fn update(&mut self, kind: u8, gpa: u64, contents: &[u8; 48]) {
        let mut info = Sha384::new();
        info.update(self.0);
        info.update(contents);
        info.update(INFO_SIZE.to_le_bytes());
        // Type; not of an initial migration image; no rights of the lower privilege levels; reserved.
        info.update([kind, 0, 0, 0, 0, 0]);
        info.update(gpa.to_le_bytes());
        self.0 = info.finalize().into();
    }
}

impl std::fmt::Display for LaunchDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

fn hash(bytes: &[u8]) -> [u8; 48] {
    Sha384::digest(bytes).into()
}

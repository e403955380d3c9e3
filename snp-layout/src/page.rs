//! A page of the launch, as `KVM_SEV_SNP_LAUNCH_UPDATE` takes it (AMD 56860, SNP_LAUNCH_UPDATE).

use crate::run::Origin;

/// What a page holds.
pub type Contents = [u8; 4096];

/// How a page is given to the guest, and what of it is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// With these bytes, which are measured.
    Normal(Box<Contents>),
    /// With zeros; that it is such a page is measured.
    Zero,
    /// With bytes of the host that are not measured; no layout of ours has one, firmware from elsewhere may.
    Unmeasured,
    /// The firmware writes keys and counters to it.
    Secrets,
    /// The host's CPUID table, which the firmware checks; the bytes are not measured.
    Cpuid,
}

impl PageKind {
    /// `PAGE_TYPE` of the firmware's interface; KVM's constants are the same.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Normal(_) => 1,
            Self::Zero => 3,
            Self::Unmeasured => 4,
            Self::Secrets => 5,
            Self::Cpuid => 6,
        }
    }

    /// The name for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Normal(_) => "normal",
            Self::Zero => "zero",
            Self::Unmeasured => "unmeasured",
            Self::Secrets => "secrets",
            Self::Cpuid => "cpuid",
        }
    }
}

/// A page, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Guest physical address, a multiple of 4096.
    pub gpa: u64,
    /// Kind and content.
    pub kind: PageKind,
    /// What it is made of.
    pub origin: Origin,
}

/// Pages of these bytes from `gpa` on, the last filled up with zeros; none where there are no bytes.
pub(crate) fn normal(gpa: u64, bytes: &[u8], origin: Origin) -> Vec<Page> {
    let pages = bytes.chunks(4096).zip((gpa..).step_by(4096));
    pages
        .map(|(chunk, gpa)| {
            let mut contents = Box::new([0; 4096]);
            contents[..chunk.len()].copy_from_slice(chunk);
            Page { gpa, kind: PageKind::Normal(contents), origin }
        })
        .collect()
}

/// That many pages of zeros.
pub(crate) fn zeros(gpa: u64, bytes: u64, origin: Origin) -> Vec<Page> {
    (gpa..gpa + bytes).step_by(4096).map(|gpa| Page { gpa, kind: PageKind::Zero, origin }).collect()
}

//! Runs: pages side by side that are made of the same thing, with the digest after each, so that of two layouts with
//! different digests one can say where they part and why.

use sha2::{Digest, Sha256};

use crate::digest::{LaunchDigest, VMSA_GPA};
use crate::layout::Layout;
use crate::page::{Page, PageKind};

/// What a page is made of, in the order of the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The stub's code and constants.
    Stub,
    /// The stub's stack.
    Stack,
    /// Page zero.
    BiosData,
    /// The page tables.
    PageTables,
    /// The descriptor table.
    Gdt,
    /// Hashes of what is staged, and which memory is validated.
    HashPage,
    /// The boot parameters.
    BootParams,
    /// The command line.
    CommandLine,
    /// What tells Linux of SNP.
    CcBlob,
    /// The ACPI tables.
    Acpi,
    /// Header and end of launch.json's archive.
    Archive,
    /// The secrets page.
    Secrets,
    /// The CPUID page.
    Cpuid,
    /// A vCPU's registers.
    Vcpu,
}

impl Origin {
    /// The name for people and for machines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stub => "stub",
            Self::Stack => "stub-stack",
            Self::BiosData => "bios-data",
            Self::PageTables => "page-tables",
            Self::Gdt => "gdt",
            Self::HashPage => "hash-page",
            Self::BootParams => "boot-params",
            Self::CommandLine => "command-line",
            Self::CcBlob => "cc-blob",
            Self::Acpi => "acpi",
            Self::Archive => "launch-archive",
            Self::Secrets => "secrets",
            Self::Cpuid => "cpuid",
            Self::Vcpu => "vmsa",
        }
    }

    /// What a user gave that such pages depend on.
    #[must_use]
    pub const fn depends_on(self) -> &'static str {
        match self {
            Self::Stub => "the stub of the runtime package",
            Self::Stack | Self::BiosData | Self::Gdt | Self::CcBlob | Self::Secrets | Self::Cpuid => {
                "the version of cradle alone"
            }
            Self::PageTables => "the version of cradle, and whether the machine is an SNP guest",
            Self::HashPage => "kernel, initramfs, launch.json (their bytes) and memory",
            Self::BootParams => "the kernel's header, memory, and the lengths of initramfs and launch.json",
            Self::CommandLine => "the command line of the runtime package",
            Self::Acpi => "the number of vCPUs",
            Self::Archive => "the length of launch.json",
            Self::Vcpu => "the number of vCPUs, and the version of cradle",
        }
    }
}

/// Pages side by side, of one kind and origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What they are made of.
    pub origin: Origin,
    /// The kind's name; `vmsa` for registers.
    pub kind: &'static str,
    /// The first address.
    pub gpa: u64,
    /// Pages.
    pub count: usize,
    /// SHA-256 of all their bytes; `None` where the bytes are not measured.
    pub sha256: Option<[u8; 32]>,
    /// The launch digest up to their end.
    pub digest: LaunchDigest,
}

/// The runs of a layout, in the order of the launch.
pub(crate) fn runs(layout: &Layout<'_>) -> Vec<Run> {
    let mut digest = LaunchDigest::default();
    let mut runs = Vec::new();
    for pages in layout.pages.chunk_by(joined) {
        pages.iter().for_each(|page| digest.add(page));
        let first = &pages[0];
        let mut hash = Sha256::new();
        for page in pages {
            if let PageKind::Normal(bytes) = &page.kind {
                hash.update(&bytes[..]);
            }
        }
        let measured = matches!(first.kind, PageKind::Normal(_));
        runs.push(Run {
            origin: first.origin,
            kind: first.kind.name(),
            gpa: first.gpa,
            count: pages.len(),
            sha256: measured.then(|| hash.finalize().into()),
            digest,
        });
    }
    for vcpu in &layout.vcpus {
        let vmsa = vcpu.vmsa();
        digest.add_vmsa(&vmsa);
        let sha256 = Some(Sha256::digest(&vmsa[..]).into());
        runs.push(Run { origin: Origin::Vcpu, kind: "vmsa", gpa: VMSA_GPA, count: 1, sha256, digest });
    }
    runs
}

fn joined(before: &Page, page: &Page) -> bool {
    before.origin == page.origin
        && before.kind.code() == page.kind.code()
        && before.gpa.checked_add(4096) == Some(page.gpa)
}

//! From what a pod is made of to the ordered list of its pages.

use sha2::{Digest, Sha256};
use snp_stub::hash_page::Range;
use snp_stub::map::{self, PAGE};
use snp_stub::{HashPage, Part, Refusal};

use crate::bzimage::{self, BzImage, BzImageError};
use crate::digest::LaunchDigest;
use crate::page::{Page, PageKind, normal, zeros};
use crate::run::{self, Origin, Run};
use crate::vcpu::Vcpu;
use crate::{acpi, archive, boot_params, cc_blob, long_mode};

/// What a pod's memory is made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The kernel, a bzImage.
    pub kernel: &'a [u8],
    /// The initramfs of the runtime package: newc archives, not compressed.
    pub initramfs: &'a [u8],
    /// The kernel's command line.
    pub command_line: &'a str,
    /// launch.json as it is in the pod's directory.
    pub launch: &'a [u8],
    /// Memory in MiB.
    pub memory_mib: u64,
    /// vCPUs.
    pub vcpus: u8,
    /// The stub, a flat image.
    pub stub: &'a [u8],
    /// The position of the encryption bit: [`C_BIT`], or 0 for a machine without encryption, in tests.
    pub c_bit: u32,
}

/// The encryption bit of all processors with SNP (Zen 3 to Zen 5).
pub const C_BIT: u32 = 51;

/// The most vCPUs.
pub const MAX_VCPUS: u8 = 32;
/// The least and the most memory in MiB.
pub const MEMORY_MIB: std::ops::RangeInclusive<u64> = 64..=1020 * 1024;
/// The most bytes of a command line, without its end: Linux takes 2048 with it.
pub const COMMAND_LINE_MAX: usize = 2047;
/// The most bytes of launch.json: as many as guest-init reads.
pub const LAUNCH_MAX: usize = 8 << 20;

/// A pod cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] BzImageError),
    /// Memory.
    #[error("memory of {mib} MiB is not within {} to {} MiB", MEMORY_MIB.start(), MEMORY_MIB.end())]
    Memory {
        /// What was asked for.
        mib: u64,
    },
    /// vCPUs.
    #[error("{vcpus} vCPUs are not 1 to {MAX_VCPUS}")]
    Vcpus {
        /// What was asked for.
        vcpus: u8,
    },
    /// The stub.
    #[error("a stub of {size} bytes is not 1 to {} bytes", map::STUB_MAX)]
    Stub {
        /// Its size.
        size: usize,
    },
    /// The command line.
    #[error("the command line is longer than {COMMAND_LINE_MAX} bytes, or not printable ASCII")]
    CommandLine,
    /// launch.json.
    #[error("launch.json of {size} bytes is longer than {LAUNCH_MAX} bytes")]
    Launch {
        /// Its size.
        size: usize,
    },
    /// Kernel, initramfs and launch.json are more than the host can stage.
    #[error("{size} bytes of kernel, initramfs and launch.json are more than {} bytes", map::STAGING_SIZE)]
    Staging {
        /// Their size in whole pages.
        size: u64,
    },
    /// The kernel asks for another place than RAM, or kernel and initramfs do not fit into memory.
    #[error("kernel and initramfs do not fit into memory: they need {needed} bytes, and there are {room}")]
    Room {
        /// Bytes that are needed from the start of memory.
        needed: u64,
        /// Bytes below 3 GiB.
        room: u64,
    },
    /// The stub would not take the hash page.
    #[error("the stub would refuse its hash page: {0:?}")]
    HashPage(Refusal),
}

/// A file that the host puts into shared memory, from where the stub takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged<'a> {
    /// Guest physical address, a multiple of 4096.
    pub gpa: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// The memory of a guest when it starts.
#[derive(Clone, Debug)]
pub struct Layout<'a> {
    /// The pages in the order in which they are launched.
    pub pages: Vec<Page>,
    /// How many of them depend on the release alone: stub, stack, page tables.
    pub stable: usize,
    /// The vCPUs, in order; they are measured behind the pages.
    pub vcpus: Vec<Vcpu>,
    /// RAM.
    pub ram: Vec<Range>,
    /// What the host shares with the stub.
    pub staged: Vec<Staged<'a>>,
    /// HOST_DATA of the launch: the SHA-256 of launch.json.
    pub host_data: [u8; 32],
}

impl<'a> Layout<'a> {
    /// Lays out a pod.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub fn new(inputs: &Inputs<'a>) -> Result<Self, LayoutError> {
        check(inputs)?;
        let kernel = BzImage::parse(inputs.kernel)?;
        let ram = ram(inputs.memory_mib);
        let places = Places::new(inputs, &kernel, &ram)?;
        let mut pages = stable_pages(inputs);
        let stable = pages.len();
        let hashes = places.hash_page(inputs, &kernel, &ram)?;
        pages.extend(normal(map::HASH_PAGE, &hashes.encode(), Origin::HashPage));
        let initrd = Range { start: places.initramfs, end: places.end };
        let params = boot_params::page(&kernel, &ram[1..], initrd, inputs.c_bit != 0);
        pages.extend(normal(map::BOOT_PARAMS, &params, Origin::BootParams));
        let line = [inputs.command_line.as_bytes(), &[0]].concat();
        pages.extend(normal(map::COMMAND_LINE, &line, Origin::CommandLine));
        pages.extend(normal(map::CC_BLOB, &cc_blob::page(), Origin::CcBlob));
        pages.extend(normal(map::ACPI, &acpi::tables(inputs.vcpus), Origin::Acpi));
        pages.extend(normal(map::ARCHIVE, &places.archive(), Origin::Archive));
        pages.push(Page { gpa: map::SECRETS, kind: PageKind::Secrets, origin: Origin::Secrets });
        pages.push(Page { gpa: map::CPUID, kind: PageKind::Cpuid, origin: Origin::Cpuid });
        Ok(Self {
            pages,
            stable,
            vcpus: (0..inputs.vcpus).map(Vcpu::new).collect(),
            ram,
            staged: places.staged,
            host_data: Sha256::digest(inputs.launch).into(),
        })
    }

    /// What the firmware will have measured when the guest starts.
    #[must_use]
    pub fn digest(&self) -> LaunchDigest {
        let mut digest = LaunchDigest::of(&self.pages);
        self.vcpus.iter().for_each(|vcpu| digest.add_vmsa(&vcpu.vmsa()));
        digest
    }

    /// The digest up to the last page that depends on the release alone.
    #[must_use]
    pub fn stable_digest(&self) -> LaunchDigest {
        LaunchDigest::of(&self.pages[..self.stable])
    }

    /// The pages as runs, the vCPUs behind them.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        run::runs(self)
    }
}

fn check(inputs: &Inputs<'_>) -> Result<(), LayoutError> {
    if !MEMORY_MIB.contains(&inputs.memory_mib) {
        return Err(LayoutError::Memory { mib: inputs.memory_mib });
    }
    if !(1..=MAX_VCPUS).contains(&inputs.vcpus) {
        return Err(LayoutError::Vcpus { vcpus: inputs.vcpus });
    }
    let size = inputs.stub.len();
    if size == 0 || size as u64 > map::STUB_MAX {
        return Err(LayoutError::Stub { size });
    }
    let printable = inputs.command_line.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !printable || inputs.command_line.len() > COMMAND_LINE_MAX {
        return Err(LayoutError::CommandLine);
    }
    if inputs.launch.len() > LAUNCH_MAX {
        return Err(LayoutError::Launch { size: inputs.launch.len() });
    }
    Ok(())
}

/// Base memory, memory up to the staged files, and what is above 4 GiB.
fn ram(mib: u64) -> Vec<Range> {
    let size = mib << 20;
    let mut ram = vec![
        Range { start: 0, end: map::BASE_MEMORY_END },
        Range { start: map::HIGH_MEMORY, end: size.min(map::STAGING) },
    ];
    if size > map::STAGING {
        ram.push(Range { start: map::RAM_ABOVE, end: map::RAM_ABOVE + size - map::STAGING });
    }
    ram
}

/// Pages that are the same for all pods of a release.
fn stable_pages(inputs: &Inputs<'_>) -> Vec<Page> {
    let mut pages = normal(map::STUB, inputs.stub, Origin::Stub);
    pages.extend(zeros(map::STACK, map::STACK_SIZE, Origin::Stack));
    pages.extend(zeros(map::BIOS_DATA, PAGE, Origin::BiosData));
    pages.extend(normal(map::PAGE_TABLES, &long_mode::page_tables(inputs.c_bit), Origin::PageTables));
    pages.extend(normal(map::GDT, &long_mode::gdt(), Origin::Gdt));
    pages
}

/// Where the end of launch.json's archive is on its page.
const ARCHIVE_END: usize = 0x200;

/// Where files come from and go to.
struct Places<'a> {
    /// Of the kernel's file, so that its code is where it wants to be.
    kernel: u64,
    initramfs: u64,
    header_at: u64,
    launch: u64,
    end_at: u64,
    end: u64,
    staged: Vec<Staged<'a>>,
    header: Vec<u8>,
    tail: Vec<u8>,
}

impl<'a> Places<'a> {
    fn new(inputs: &Inputs<'a>, kernel: &BzImage, ram: &[Range]) -> Result<Self, LayoutError> {
        let launch_size = inputs.launch.len() as u64;
        let header = archive::header(u32::try_from(launch_size).unwrap_or(u32::MAX));
        let tail = archive::end();
        let mut staged: Vec<Staged<'a>> = Vec::with_capacity(3);
        let mut gpa = map::STAGING;
        for bytes in [inputs.kernel, inputs.initramfs, inputs.launch] {
            staged.push(Staged { gpa, bytes });
            gpa += (bytes.len() as u64).next_multiple_of(PAGE);
        }
        if gpa - map::STAGING > map::STAGING_SIZE {
            return Err(LayoutError::Staging { size: gpa - map::STAGING });
        }
        // From here on all sums are of at most 256 MiB each.
        let header_offset = (inputs.initramfs.len() as u64).next_multiple_of(4);
        let launch_offset = header_offset + header.len() as u64;
        let end_offset = (launch_offset + launch_size).next_multiple_of(4);
        let size = end_offset + tail.len() as u64;
        let room = ram[1].end;
        let file = inputs.kernel.len() as u64 - kernel.setup_size;
        let needed = kernel
            .address
            .checked_add(kernel.init_size.max(file))
            .and_then(|end| end.checked_next_multiple_of(PAGE));
        let needed = needed.unwrap_or(u64::MAX).saturating_add(size.next_multiple_of(PAGE));
        if needed > room || kernel.address < map::HIGH_MEMORY + kernel.setup_size {
            return Err(LayoutError::Room { needed, room });
        }
        let initramfs = room - size.next_multiple_of(PAGE);
        Ok(Self {
            kernel: kernel.address - kernel.setup_size,
            initramfs,
            header_at: initramfs + header_offset,
            launch: initramfs + launch_offset,
            end_at: initramfs + end_offset,
            end: initramfs + size,
            staged,
            header,
            tail,
        })
    }

    /// Header and end of launch.json's archive.
    fn archive(&self) -> Vec<u8> {
        let mut bytes = self.header.clone();
        bytes.resize(ARCHIVE_END, 0);
        bytes.extend(&self.tail);
        bytes
    }

    fn hash_page(
        &self,
        inputs: &Inputs<'_>,
        kernel: &BzImage,
        ram: &[Range],
    ) -> Result<HashPage, LayoutError> {
        let mut page = HashPage::new(inputs.c_bit, kernel.address + bzimage::ENTRY, map::BOOT_PARAMS);
        let staged = |index: usize| self.staged[index].gpa;
        let parts = [
            (b"kernel\0\0", staged(0), self.kernel, inputs.kernel),
            (b"initrd\0\0", staged(1), self.initramfs, inputs.initramfs),
            (b"header\0\0", map::ARCHIVE, self.header_at, &self.header[..]),
            (b"launch\0\0", staged(2), self.launch, inputs.launch),
            (b"trailer\0", map::ARCHIVE + ARCHIVE_END as u64, self.end_at, &self.tail[..]),
        ];
        for (name, source, destination, bytes) in parts {
            let (length, sha256) = (bytes.len() as u64, Sha256::digest(bytes).into());
            let part = Part { name: *name, source, destination, length, sha256 };
            page.push_part(part).map_err(LayoutError::HashPage)?;
        }
        let low = [(map::BIOS_DATA + PAGE, map::STUB), (map::LAUNCHED_END, map::BASE_MEMORY_END)];
        let low = low.map(|(start, end)| Range { start, end });
        for range in low.iter().chain(&ram[1..]) {
            page.push_range(*range).map_err(LayoutError::HashPage)?;
        }
        page.check().map_err(LayoutError::HashPage)?;
        Ok(page)
    }
}

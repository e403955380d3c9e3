//! Random pods and random lists of pages.

use fuzz::Random;
use snp_layout::layout::C_BIT;
use snp_layout::{Inputs, Origin, Page, PageKind, Vcpu};

/// What [`Inputs`] borrows from.
#[derive(Clone)]
pub(crate) struct Pod {
    pub(crate) kernel: Vec<u8>,
    pub(crate) initramfs: Vec<u8>,
    pub(crate) command_line: String,
    pub(crate) launch: Vec<u8>,
    pub(crate) memory_mib: u64,
    pub(crate) vcpus: u8,
    pub(crate) stub: Vec<u8>,
}

impl Pod {
    pub(crate) fn new(random: &mut Random) -> Self {
        let memory = [64, 65, 128, 1024, 3072, 3073, 8192, 1020 * 1024];
        let text = |random: &mut Random, length| {
            (0..length).map(|_| char::from(b' ' + random.byte() % 95)).collect()
        };
        let line = random.below(2048);
        let [initramfs, launch, stub] = [1 << 16, 1 << 14, 1 << 16].map(|bound| 1 + random.below(bound));
        Self {
            kernel: kernel(random),
            initramfs: bytes(random, initramfs),
            command_line: text(random, line),
            launch: bytes(random, launch),
            memory_mib: memory[random.below(memory.len())],
            vcpus: u8::try_from(1 + random.below(32)).unwrap(),
            stub: bytes(random, stub),
        }
    }

    pub(crate) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            kernel: &self.kernel,
            initramfs: &self.initramfs,
            command_line: &self.command_line,
            launch: &self.launch,
            memory_mib: self.memory_mib,
            vcpus: self.vcpus,
            stub: &self.stub,
            c_bit: C_BIT,
        }
    }
}

pub(crate) fn bytes(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.byte()).collect()
}

/// A file with the header of a bzImage and noise for code.
fn kernel(random: &mut Random) -> Vec<u8> {
    let sectors = 4 + random.below(60);
    let size = (sectors + 1) * 512 + 0x201 + random.below(1 << 18);
    let mut file = bytes(random, size);
    file[0x1f1] = u8::try_from(sectors).unwrap();
    file[0x1fe..0x200].copy_from_slice(&0xaa55_u16.to_le_bytes());
    file[0x201] = 0x6a;
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    file[0x236..0x238].copy_from_slice(&0x003f_u16.to_le_bytes());
    file[0x258..0x260].copy_from_slice(&0x100_0000_u64.to_le_bytes());
    file[0x260..0x264].copy_from_slice(&(8_u32 << 20).to_le_bytes());
    file
}

/// Pages of all kinds at any addresses.
pub(crate) fn pages(random: &mut Random, kinds: usize) -> Vec<Page> {
    let count = 1 + random.below(40);
    (0..count)
        .map(|_| {
            let gpa = (random.bits() & 0x000f_ffff_ffff_f000) >> (random.below(10) * 4) & !0xfff;
            let kind = match random.below(kinds) {
                0 | 1 => PageKind::Normal(Box::new(bytes(random, 4096).try_into().unwrap())),
                2 => PageKind::Normal(Box::new([0; 4096])),
                3 => PageKind::Unmeasured,
                4 => PageKind::Secrets,
                5 => PageKind::Cpuid,
                _ => PageKind::Zero,
            };
            Page { gpa, kind, origin: Origin::Stub }
        })
        .collect()
}

/// Registers that no layout of ours has.
pub(crate) fn vcpu(random: &mut Random) -> Vcpu {
    let mut vcpu = Vcpu::new(u8::try_from(random.below(32)).unwrap());
    (vcpu.rip, vcpu.rsp, vcpu.cr3) = (random.bits(), random.bits(), random.bits());
    (vcpu.code.base, vcpu.data.limit) = (random.bits(), u32::try_from(random.below(1 << 30)).unwrap());
    vcpu
}

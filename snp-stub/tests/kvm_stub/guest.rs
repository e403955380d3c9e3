//! A pod whose kernel is a few instructions.

use snp_layout::{Inputs, Layout};
use tests::work_tree;

/// The port at which the kernel says that it runs.
pub(crate) const KERNEL_PORT: u16 = 0x512;

/// Setup sectors of the kernel's file.
const SECTORS: usize = 7;

pub(crate) struct Pod {
    pub(crate) kernel: Vec<u8>,
    pub(crate) initramfs: Vec<u8>,
    pub(crate) launch: Vec<u8>,
    stub: Vec<u8>,
}

impl Pod {
    pub(crate) fn new() -> Self {
        let file = work_tree().join("target/snp-stub/stub");
        let stub = std::fs::read(&file)
            .unwrap_or_else(|error| panic!("{}: {error}: run make snp-stub", file.display()));
        let initramfs = (0..10_001_u32).map(|number| number.to_le_bytes()[0] ^ 0x5a).collect();
        Self { kernel: kernel(), initramfs, launch: b"{\"version\":1}\n".to_vec(), stub }
    }

    pub(crate) fn layout(&self) -> Layout<'_> {
        let inputs = Inputs {
            kernel: &self.kernel,
            initramfs: &self.initramfs,
            command_line: "panic=-1",
            launch: &self.launch,
            memory_mib: 64,
            vcpus: 1,
            stub: &self.stub,
            c_bit: 0,
        };
        Layout::new(&inputs).unwrap()
    }
}

/// A bzImage that tells where its boot parameters are: `mov edx, port; mov eax, esi; out dx, eax; hlt`.
fn kernel() -> Vec<u8> {
    let code = (SECTORS + 1) * 512;
    let mut file = vec![0; code + 0x1000];
    file[0x1f1] = u8::try_from(SECTORS).unwrap();
    file[0x1fe..0x200].copy_from_slice(&0xaa55_u16.to_le_bytes());
    file[0x201] = 0x6a;
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    file[0x236..0x238].copy_from_slice(&1_u16.to_le_bytes());
    file[0x258..0x260].copy_from_slice(&0x100_0000_u64.to_le_bytes());
    file[0x260..0x264].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    let [low, high] = KERNEL_PORT.to_le_bytes();
    let start = [0xba, low, high, 0, 0, 0x89, 0xf0, 0xef, 0xf4];
    file[code + 0x200..code + 0x200 + start.len()].copy_from_slice(&start);
    file
}

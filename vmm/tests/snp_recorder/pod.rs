//! The guest that is launched, of bytes that are none of a release.

use snp_layout::layout::C_BIT;
use snp_layout::{Inputs, Layout};
use vmm::snp::{IdBlock, SnpConfig};

use crate::kernel::kernel;

pub(crate) struct Pod {
    pub(crate) kernel: Vec<u8>,
    pub(crate) initramfs: Vec<u8>,
    pub(crate) launch: Vec<u8>,
    stub: Vec<u8>,
    pub(crate) vcpus: u8,
    pub(crate) memory_mib: u64,
}

const COMMAND_LINE: &str = "panic=-1 swiotlb=force";

impl Default for Pod {
    fn default() -> Self {
        Self {
            kernel: kernel(),
            initramfs: pattern(10_001),
            launch: b"{\"version\":1}\n".to_vec(),
            stub: pattern(5000),
            vcpus: 2,
            memory_mib: std::env::var("SNP_MEMORY").map_or(64, |mib| mib.parse().unwrap()),
        }
    }
}

impl Pod {
    /// With an identity block where the environment says so.
    pub(crate) fn config(&self) -> SnpConfig {
        let mut config = SnpConfig::new(self.stub.clone(), COMMAND_LINE.to_owned(), self.launch.clone());
        if std::env::var_os("SNP_ID_BLOCK").is_some() {
            let block = Box::new([0x1d; 96]);
            config.id_block = Some(IdBlock { block, auth: Box::new([0xa7; 4096]), author_key: true });
        }
        if let Ok(policy) = std::env::var("SNP_POLICY") {
            config.policy = policy.parse().unwrap();
        }
        config
    }

    pub(crate) fn layout(&self) -> Layout<'_> {
        let inputs = Inputs {
            kernel: &self.kernel,
            initramfs: &self.initramfs,
            command_line: COMMAND_LINE,
            launch: &self.launch,
            memory_mib: self.memory_mib,
            vcpus: self.vcpus,
            stub: &self.stub,
            c_bit: C_BIT,
        };
        Layout::new(&inputs).unwrap()
    }
}

fn pattern(length: u32) -> Vec<u8> {
    (0..length).map(|number| number.to_le_bytes()[0] ^ 0x5a).collect()
}

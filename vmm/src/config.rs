//! What a virtual machine is made of. Filled by `kcradle`, read by `builder`.

use std::fs::File;
use std::time::Instant;

use crate::boot::cmdline;
use crate::boot::initrd::InitrdPart;
use crate::devices::block::DiskConfig;
use crate::devices::console::ConsoleConfig;
use crate::devices::fs::FsConfig;
use crate::devices::net::NetConfig;
use crate::devices::vsock::VsockConfig;
use crate::seccomp;
use crate::snp::SnpConfig;

/// The most vCPUs of a virtual machine.
pub const MAX_VCPUS: u8 = 32;

/// A virtual machine to be built. All files are open already: nothing is opened once the guest runs.
pub struct VmConfig {
    /// vCPUs, 1 to [`MAX_VCPUS`].
    pub vcpus: u8,
    /// Guest memory in MiB, [`crate::memory::MIN_MIB`] to [`crate::memory::MAX_MIB`].
    pub memory_mib: u64,
    /// The kernel, an uncompressed ELF; of an SNP guest a bzImage.
    pub kernel: File,
    /// The archives of the initramfs, in order.
    pub initrd: Vec<InitrdPart>,
    /// Kernel messages more severe than this go to the early console, 1 to 8; [`cmdline::SILENT`] for a panic's
    /// last words alone. Each byte costs an exit.
    pub log_level: u8,
    /// Added to the kernel command line.
    pub cmdline_extra: String,
    /// Disks in the order of their names in the guest (`/dev/vda`, `/dev/vdb`, …).
    pub disks: Vec<DiskConfig>,
    /// Network devices, in the order of the pod's interfaces.
    pub nets: Vec<NetConfig>,
    /// Network devices that are connected to nothing, for taps that come while the machine runs: fewer where there is no
    /// place for so many.
    pub spare_nets: usize,
    /// Queues of each.
    pub spare_queues: usize,
    /// Shares of the host's files.
    pub shares: Vec<FsConfig>,
    /// The vsock.
    pub vsock: Option<VsockConfig>,
    /// The console, `/dev/hvc0` in the guest.
    pub console: Option<ConsoleConfig>,
    /// Whether the guest gets an entropy device. Linux needs none on a CPU with `rdrand`.
    pub rng: bool,
    /// Where the early console's output goes, at most [`crate::early_console::LIMIT`] bytes of it.
    pub early_console: Option<File>,
    /// Makes it an SNP guest.
    pub snp: Option<SnpConfig>,
    /// What happens to a thread of the VMM that makes an unforeseen system call.
    pub seccomp: seccomp::Mode,
    /// What the timeline counts from.
    pub origin: Instant,
}

impl VmConfig {
    /// A machine with one vCPU, 128 MiB and no device, confined, that counts its timeline from now.
    #[must_use]
    pub fn new(kernel: File) -> Self {
        Self {
            vcpus: 1,
            memory_mib: 128,
            kernel,
            initrd: Vec::new(),
            log_level: cmdline::SILENT,
            cmdline_extra: String::new(),
            disks: Vec::new(),
            shares: Vec::new(),
            nets: Vec::new(),
            spare_nets: 0,
            spare_queues: 1,
            vsock: None,
            console: None,
            rng: false,
            early_console: None,
            snp: None,
            seccomp: seccomp::Mode::Enforce,
            origin: Instant::now(),
        }
    }
}

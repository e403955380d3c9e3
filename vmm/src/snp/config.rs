//! What an SNP guest is launched with beside what each machine has.

/// The guest's policy (AMD 56860, section 4.3): other threads may run on its cores, and the bit that is always set. No
/// debugger, no migration.
pub const DEFAULT_POLICY: u64 = SMT | RESERVED_ONE;

const SMT: u64 = 1 << 16;
const RESERVED_ONE: u64 = 1 << 17;
const DEBUG: u64 = 1 << 19;
/// The least version of the firmware's interface, in two bytes.
const INTERFACE: u64 = 0xffff;

/// The part of a [`crate::VmConfig`] that SNP guests alone have. The kernel is a bzImage, the initramfs one file; command
/// line, memory and vCPUs are measured, and what else the configuration has is not.
pub struct SnpConfig {
    /// The first code, a flat image.
    pub stub: Vec<u8>,
    /// The kernel's command line; log level and additions of the configuration are not used.
    pub command_line: String,
    /// launch.json: the guest gets it, and its SHA-256 is HOST_DATA of the guest's reports.
    pub launch: Vec<u8>,
    /// The guest's policy; [`DEFAULT_POLICY`].
    pub policy: u64,
    /// Who says that this digest is theirs; it appears in reports.
    pub id_block: Option<IdBlock>,
    /// Who keeps the host out.
    pub isolation: Isolation,
}

/// An identity block and its signature (AMD 56860, section 8.18).
pub struct IdBlock {
    /// `ID_BLOCK`.
    pub block: Box<[u8; 96]>,
    /// `ID_AUTH`.
    pub auth: Box<[u8; 4096]>,
    /// Whether the block's key is signed by an author key.
    pub author_key: bool,
}

/// Who keeps the host out of a guest's private memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The processor.
    #[default]
    Processor,
    /// Nobody: KVM's software-protected machines, which have private memory like an SNP guest and neither encryption nor
    /// measurement. All memory is shared at the start, and the stub runs where the processor's would. For tests.
    Software,
}

impl Isolation {
    /// The processor; in builds for tests whoever the environment names.
    fn by_default() -> Self {
        if cfg!(debug_assertions) && std::env::var_os("CRADLE_TEST_SNP_SOFTWARE").is_some() {
            return Self::Software;
        }
        Self::Processor
    }
}

impl SnpConfig {
    /// A guest that the processor isolates, with the policy by default and no identity block.
    #[must_use]
    pub fn new(stub: Vec<u8>, command_line: String, launch: Vec<u8>) -> Self {
        Self {
            stub,
            command_line,
            launch,
            policy: DEFAULT_POLICY,
            id_block: None,
            isolation: Isolation::by_default(),
        }
    }

    /// Whether a policy is one that Linux 6.11 and later take.
    pub(super) const fn has_good_policy(&self) -> bool {
        self.policy & RESERVED_ONE != 0 && self.policy & !(INTERFACE | SMT | RESERVED_ONE | DEBUG) == 0
    }
}

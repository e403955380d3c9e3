//! Register offsets of the MMIO transport (virtio 1.3, section 4.2.2, table 4.1). `QueueNotify` and `InterruptACK` are the bus's to know.

pub(crate) const MAGIC_VALUE: u64 = 0x000;
pub(crate) const VERSION: u64 = 0x004;
pub(crate) const DEVICE_ID: u64 = 0x008;
pub(crate) const VENDOR_ID: u64 = 0x00c;
pub(crate) const DEVICE_FEATURES: u64 = 0x010;
pub(crate) const DEVICE_FEATURES_SEL: u64 = 0x014;
pub(crate) const DRIVER_FEATURES: u64 = 0x020;
pub(crate) const DRIVER_FEATURES_SEL: u64 = 0x024;
pub(crate) const QUEUE_SEL: u64 = 0x030;
pub(crate) const QUEUE_SIZE_MAX: u64 = 0x034;
pub(crate) const QUEUE_SIZE: u64 = 0x038;
pub(crate) const QUEUE_READY: u64 = 0x044;
pub(crate) const INTERRUPT_STATUS: u64 = 0x060;
pub(crate) const STATUS: u64 = 0x070;
pub(crate) const QUEUE_DESC_LOW: u64 = 0x080;
pub(crate) const QUEUE_DESC_HIGH: u64 = 0x084;
pub(crate) const QUEUE_DRIVER_LOW: u64 = 0x090;
pub(crate) const QUEUE_DRIVER_HIGH: u64 = 0x094;
pub(crate) const QUEUE_DEVICE_LOW: u64 = 0x0a0;
pub(crate) const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
pub(crate) const SHM_LEN_LOW: u64 = 0x0b0;
pub(crate) const SHM_BASE_HIGH: u64 = 0x0bc;
pub(crate) const CONFIG_GENERATION: u64 = 0x0fc;
pub(crate) const CONFIG: u64 = 0x100;

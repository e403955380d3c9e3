//! Guest memory: its type and its layout in guest physical addresses.
//!
//! RAM starts at 0 and leaves out the hole from 3 GiB to 4 GiB, where the devices, the I/O APIC and the local
//! APICs sit; what does not fit below goes above 4 GiB.

/// Guest RAM as all of the VMM shares it: clones are cheap, there is no dirty bitmap.
pub type GuestMemory = vm_memory::GuestMemoryMmap<()>;

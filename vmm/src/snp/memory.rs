//! Private memory: where it is (guest_memfd), which pages are private now, and how a guest changes that.
//!
//! Each page of RAM has two places: its private one in a guest_memfd, which no process can map, and its shared one in this
//! process, where devices find what the guest shares. KVM's attributes say which of the two the guest has. The guest is
//! hostile: what it asks for is done within RAM, and nowhere else.
#![expect(unsafe_code, reason = "memory slots hand host memory to KVM; pages are given back to the system")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::sync::{Mutex, PoisonError};

use kvm_bindings::{
    KVM_MEM_GUEST_MEMFD, KVM_MEMORY_ATTRIBUTE_PRIVATE, kvm_create_guest_memfd, kvm_memory_attributes,
    kvm_userspace_memory_region2,
};
use kvm_ioctls::{Kvm, VmFd};
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

use super::SnpError;
use super::host::MAP_GPA_RANGE;
use crate::memory::GuestMemory;

const PAGE: u64 = 4096;
const PRIVATE: u64 = KVM_MEMORY_ATTRIBUTE_PRIVATE as u64;
/// The attribute of a MAP_GPA_RANGE hypercall by which pages become private; below it is their size, which is a hint.
const ENCRYPTED: u64 = 1 << 4;
const PAGE_SIZE_HINT: u64 = 0xf;
/// What a guest's hypercall returns: nothing, `-KVM_EINVAL`, `-KVM_ENOSYS`.
const DONE: u64 = 0;
const INVALID: u64 = (-22_i64).cast_unsigned();
const UNKNOWN: u64 = (-1000_i64).cast_unsigned();

/// Pages cannot become private or shared.
#[derive(Debug, thiserror::Error)]
pub enum ConversionError {
    /// The guest has touched what is no RAM, as private memory.
    #[error(
        "the guest touched {gpa:#x}+{size:#x} as {} memory, which is not within its RAM",
        if *.private { "private" } else { "shared" }
    )]
    Outside {
        /// The first address.
        gpa: u64,
        /// Bytes.
        size: u64,
        /// How it was touched.
        private: bool,
    },
    /// KVM tells of a fault in terms that this program does not know.
    #[error("KVM tells of a memory fault with flags {flags:#x} at {gpa:#x}")]
    Flags {
        /// The flags.
        flags: u64,
        /// The first address.
        gpa: u64,
    },
    /// KVM_SET_MEMORY_ATTRIBUTES.
    #[error("cannot change the attributes of {gpa:#x}+{size:#x} (KVM_SET_MEMORY_ATTRIBUTES)")]
    SetAttributes {
        /// The first address.
        gpa: u64,
        /// Bytes.
        size: u64,
        /// What KVM says.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// The pages that the guest no longer has.
    #[error("cannot give back the pages behind {gpa:#x}+{size:#x}")]
    Release {
        /// The first address.
        gpa: u64,
        /// Bytes.
        size: u64,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// The RAM of a guest with private memory.
pub(crate) struct PrivateMemory {
    /// The machine, by a descriptor of our own.
    vm: VmFd,
    memory: GuestMemory,
    ram: Vec<Ram>,
    /// One change at a time: attributes first, then the pages that they leave.
    changing: Mutex<()>,
}

/// A range of RAM and its private pages.
struct Ram {
    gpa: u64,
    size: u64,
    file: File,
}

impl PrivateMemory {
    /// Gives `memory` to the guest; what starts at `shared` is no RAM and has no private pages. Where `private` is set all
    /// RAM is private, else shared.
    ///
    /// # Errors
    /// The step that KVM refuses.
    pub(super) fn give(
        kvm: &Kvm,
        vm: &VmFd,
        memory: &GuestMemory,
        shared: u64,
        private: bool,
    ) -> Result<Self, SnpError> {
        let own =
            duplicate(kvm, vm).map_err(|source| SnpError::PrivateMemory { step: "dup", gpa: 0, source })?;
        let mut ram = Vec::with_capacity(2);
        for (slot, region) in (0..).zip(memory.iter()) {
            let (gpa, size) = (region.start_addr().raw_value(), region.len());
            let failed = |step| move |source| SnpError::PrivateMemory { step, gpa, source };
            let Ok(host) = region.get_host_address(MemoryRegionAddress(0)) else { continue };
            let mut slot = kvm_userspace_memory_region2 {
                slot,
                guest_phys_addr: gpa,
                memory_size: size,
                userspace_addr: host as u64,
                ..Default::default()
            };
            if gpa != shared {
                let wanted = kvm_create_guest_memfd { size, ..Default::default() };
                let file = vm.create_guest_memfd(wanted).map_err(failed("KVM_CREATE_GUEST_MEMFD"))?;
                // SAFETY: KVM has just made this descriptor, and nobody else has it.
                let file = unsafe { File::from_raw_fd(file) };
                slot.flags = KVM_MEM_GUEST_MEMFD;
                slot.guest_memfd = file.as_raw_fd().cast_unsigned();
                ram.push(Ram { gpa, size, file });
            }
            // SAFETY: the range is mapped in all of exactly this size, it overlaps no other slot, and `Vm` drops the vCPUs,
            // without which nothing runs in `vm`, before the memory.
            let result = unsafe { vm.set_user_memory_region2(slot) };
            result.map_err(failed("KVM_SET_USER_MEMORY_REGION2"))?;
            if private && gpa != shared {
                set_attributes(vm, gpa, size, PRIVATE).map_err(failed("KVM_SET_MEMORY_ATTRIBUTES"))?;
            }
        }
        Ok(Self { vm: own, memory: memory.clone(), ram, changing: Mutex::new(()) })
    }

    /// A hypercall of the guest; what it returns to the guest. What does not lie within RAM is refused.
    ///
    /// # Errors
    /// The host cannot do what is the guest's right to have done.
    pub(crate) fn hypercall(&self, number: u64, arguments: &[u64; 6]) -> Result<u64, ConversionError> {
        let [gpa, pages, attributes, ..] = *arguments;
        if number != MAP_GPA_RANGE {
            return Ok(UNKNOWN);
        }
        let size = pages.checked_mul(PAGE);
        let (Some(size), 0) = (size, attributes & !(ENCRYPTED | PAGE_SIZE_HINT)) else { return Ok(INVALID) };
        match self.find(gpa, size) {
            Some(ram) => self.convert(ram, gpa, size, attributes & ENCRYPTED != 0).map(|()| DONE),
            None => Ok(INVALID),
        }
    }

    /// A guest touched memory as something else than it is: as an explicit change of the pages.
    ///
    /// # Errors
    /// They are no RAM, or the host cannot do it.
    pub(crate) fn fault(&self, flags: u64, gpa: u64, size: u64) -> Result<(), ConversionError> {
        if flags & !PRIVATE != 0 {
            return Err(ConversionError::Flags { flags, gpa });
        }
        let private = flags & PRIVATE != 0;
        let ram = self.find(gpa, size).ok_or(ConversionError::Outside { gpa, size, private })?;
        self.convert(ram, gpa, size, private)
    }

    /// The RAM that has all of these bytes, which are whole pages and at least one.
    fn find(&self, gpa: u64, size: u64) -> Option<&Ram> {
        let whole = gpa.is_multiple_of(PAGE) && size.is_multiple_of(PAGE) && size > 0;
        let end = gpa.checked_add(size).filter(|_| whole)?;
        self.ram.iter().find(|ram| ram.gpa <= gpa && end <= ram.gpa + ram.size)
    }

    /// The pages that the guest loses are given back: their content is gone in either direction.
    fn convert(&self, ram: &Ram, gpa: u64, size: u64, private: bool) -> Result<(), ConversionError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        set_attributes(&self.vm, gpa, size, if private { PRIVATE } else { 0 })
            .map_err(|source| ConversionError::SetAttributes { gpa, size, source })?;
        let released = if private { self.release_shared(gpa, size) } else { ram.release(gpa, size) };
        released.map_err(|source| ConversionError::Release { gpa, size, source })
    }

    fn release_shared(&self, gpa: u64, size: u64) -> io::Result<()> {
        let length = usize::try_from(size).map_err(io::Error::other)?;
        let host = self.memory.get_host_address(GuestAddress(gpa)).map_err(io::Error::other)?;
        // SAFETY: the pages lie within one range of RAM, whose mapping is as long; all of this process that looks at them does
        // so as at memory that the guest may change at any time.
        let result = unsafe { libc::madvise(host.cast(), length, libc::MADV_DONTNEED) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Ram {
    /// Takes private pages away, which lie within this range.
    fn release(&self, gpa: u64, size: u64) -> io::Result<()> {
        let offset = i64::try_from(gpa - self.gpa).map_err(io::Error::other)?;
        let length = i64::try_from(size).map_err(io::Error::other)?;
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: has nothing to do with memory of this process, which cannot map the file.
        let result = unsafe { libc::fallocate(self.file.as_raw_fd(), mode, offset, length) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn set_attributes(vm: &VmFd, address: u64, size: u64, attributes: u64) -> Result<(), kvm_ioctls::Error> {
    vm.set_memory_attributes(kvm_memory_attributes { address, size, attributes, flags: 0 })
}

fn duplicate(kvm: &Kvm, vm: &VmFd) -> Result<VmFd, kvm_ioctls::Error> {
    // SAFETY: the descriptor is open for as long as `vm` is borrowed.
    let borrowed = unsafe { BorrowedFd::borrow_raw(vm.as_raw_fd()) };
    let own = borrowed
        .try_clone_to_owned()
        .map_err(|error| kvm_ioctls::Error::new(error.raw_os_error().unwrap_or(libc::EMFILE)))?;
    // SAFETY: the descriptor is of a virtual machine, and its owner gives it up here.
    unsafe { kvm.create_vmfd_from_rawfd(own.into_raw_fd()) }
}

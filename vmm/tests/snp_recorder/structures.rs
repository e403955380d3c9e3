//! Structures of kvm-bindings as bytes and back.
#![expect(unsafe_code, reason = "structures of plain numbers are read as bytes")]

/// Structures without padding that is no field of theirs.
pub(crate) trait Plain: Copy {}

impl Plain for kvm_bindings::kvm_create_guest_memfd {}
impl Plain for kvm_bindings::kvm_enable_cap {}
impl Plain for kvm_bindings::kvm_memory_attributes {}
impl Plain for kvm_bindings::kvm_regs {}
impl Plain for kvm_bindings::kvm_sev_cmd {}
impl Plain for kvm_bindings::kvm_sev_init {}
impl Plain for kvm_bindings::kvm_sev_snp_launch_finish {}
impl Plain for kvm_bindings::kvm_sev_snp_launch_start {}
impl Plain for kvm_bindings::kvm_sev_snp_launch_update {}
impl Plain for kvm_bindings::kvm_sregs {}
impl Plain for kvm_bindings::kvm_userspace_memory_region2 {}

pub(crate) fn bytes<T: Plain>(value: &T) -> Vec<u8> {
    // SAFETY: such structures have a value in each byte.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }.to_vec()
}

pub(crate) fn parse<T: Plain>(bytes: &[u8]) -> T {
    assert_eq!(bytes.len(), size_of::<T>());
    // SAFETY: as long as the structure, and any bytes are one.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

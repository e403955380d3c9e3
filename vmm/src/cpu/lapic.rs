//! The local interrupt pins of a vCPU's APIC in virtual wire mode (Intel SDM volume 3, section 11.5.1; MP
//! specification 1.4, section 3.6.2.2): LINT0 takes the PIC's interrupts, LINT1 the NMI.

use kvm_bindings::kvm_lapic_state;
use kvm_ioctls::VcpuFd;

/// Offsets of the local vector table's entries.
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
/// Delivery modes, bits 8 to 10.
const DELIVERY: u32 = 0b111 << 8;
const NMI: u32 = 0b100 << 8;
const EXT_INT: u32 = 0b111 << 8;

/// Sets the pins of a fresh vCPU.
///
/// # Errors
/// What KVM says.
pub(crate) fn set(vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    let mut state = vcpu.get_lapic()?;
    set_delivery(&mut state, LVT_LINT0, EXT_INT);
    set_delivery(&mut state, LVT_LINT1, NMI);
    vcpu.set_lapic(&state)
}

#[expect(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the bindings hold the APIC's page as c_char"
)]
fn set_delivery(state: &mut kvm_lapic_state, offset: usize, mode: u32) {
    let register: &mut [i8] = &mut state.regs[offset..offset + 4];
    let old = u32::from_le_bytes([0, 1, 2, 3].map(|byte| register[byte] as u8));
    for (byte, new) in register.iter_mut().zip((old & !DELIVERY | mode).to_le_bytes()) {
        *byte = new as i8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_delivery_mode_changes() {
        let mut state = kvm_lapic_state::default();
        state.regs[LVT_LINT0 + 2] = 1;
        set_delivery(&mut state, LVT_LINT0, EXT_INT);
        set_delivery(&mut state, LVT_LINT1, NMI);
        assert_eq!(state.regs[LVT_LINT0..LVT_LINT0 + 4], [0, 7, 1, 0]);
        assert_eq!(state.regs[LVT_LINT1..LVT_LINT1 + 4], [0, 4, 0, 0]);
        assert!(state.regs[..LVT_LINT0].iter().all(|byte| *byte == 0));
    }
}

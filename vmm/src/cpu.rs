//! What a vCPU is set up with before it runs: CPUID, model specific registers, local APIC.

pub(crate) mod cpuid;
pub(crate) mod lapic;
pub(crate) mod msr;
pub(crate) mod topology;

//! Guests whose memory is encrypted and measured by the processor: AMD SEV-SNP (docs/snp.md, "The launcher").
//!
//! [`SnpConfig`] in a [`crate::VmConfig`] asks for one; [`host`] says what the host lacks for it. What is launched is the
//! list of `snp_layout`, which the verifier computes as well.

mod config;
mod cpuid;
mod error;
mod firmware;
pub mod host;
mod launch;
mod memory;
mod registers;

pub use config::{DEFAULT_POLICY, IdBlock, Isolation, SnpConfig};
pub use error::SnpError;
pub(crate) use launch::build;
pub use memory::ConversionError;
pub(crate) use memory::PrivateMemory;

//! What the stub of an SNP guest and those who lay out its memory agree on (docs/snp.md): addresses, and the page that
//! tells the stub what to take from the host.
//!
//! Without the standard library, allocation and dependencies: all of it is part of what a verifier has to trust.
#![no_std]
#![forbid(unsafe_code)]

pub mod hash_page;
pub mod map;
pub mod sha256;
pub mod start;

pub use hash_page::{HashPage, Part, Refusal};

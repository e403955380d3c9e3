//! The launch digest against programs that others wrote, over layouts and lists of pages that are random for a seed, which
//! each test prints; and what has to change it.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod igvm;
mod negatives;
mod random;
mod sev_snp_measure;

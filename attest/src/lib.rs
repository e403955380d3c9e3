//! Judges AMD SEV-SNP attestation reports.
#![forbid(unsafe_code)]

pub mod binding;
mod cause;
pub mod certificate;
pub mod chain;
pub mod check;
pub mod command;
pub mod crl;
pub mod diff;
pub mod endorsement;
pub mod hex;
pub mod measure;
pub mod policy;
pub mod product;
pub mod report;
pub mod roots;
pub mod tcb;
pub mod time;
pub mod verify;

//! The real binary, on a host that need not have KVM: everything but the boot.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod commands;
mod full_disk;
mod guest;
mod host;
mod image_files;
mod killed;
mod serve;
mod share;
mod snp;
mod summon;
mod torn;

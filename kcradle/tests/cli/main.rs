//! The real binary, on a host that need not have KVM: everything but the boot.
#![forbid(unsafe_code)]

mod bad_input;
mod commands;
mod host;
mod image_files;
mod summon;
mod torn;

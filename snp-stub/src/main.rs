//! The stub: the first code of an SNP guest, entered in long mode with the page tables of the launch (docs/snp.md).
//!
//! No exception can be handled and none may come: one ends the machine. Built by `build.sh` as a flat image for
//! [`snp_stub::map::STUB`]; for other targets it is an empty program.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod machine;

/// There is nothing to do where there is no machine to start.
#[cfg(not(target_os = "none"))]
fn main() {}

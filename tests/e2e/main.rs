//! End-to-end tests: the real `kcradle` runs real images in microVMs. They need a usable KVM, so `make test` runs
//! them on the host that has one and in the lab where it has none. One module a promise to the user.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bad_input;
mod docker;
mod endings;
mod frontend;
mod input_output;
mod kills;
mod lifecycle;
mod limits;
mod network;
mod power_loss;
mod process;
mod root_disk;
mod served;
mod services;
mod shared;
mod snp;
mod terminal;
mod verbs;
mod volumes;

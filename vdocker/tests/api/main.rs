//! The Docker Engine API over an engine of host processes: `docker` drives it with the real docker client, `http` with
//! requests that no client would send, `streams` with clients that half-close, die and stall; `forms` holds the fields
//! of the answers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod docker;
mod fake;
mod forms;
mod http;
mod pod;
mod streams;
#[path = "../../../tests/src/terminal.rs"]
#[expect(unreachable_pub, reason = "it is a part of the crate of the tests of the whole")]
mod terminal;

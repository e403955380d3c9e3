//! Damaged messages (docs/testing.md, "Fuzzing"): `http` for whole connections over an engine that has one container
//! and does nothing, `parsers` for what takes texts and frames apart.

mod engine;
mod http;
mod parsers;

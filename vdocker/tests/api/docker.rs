//! Tests with the real docker client of tests/tools.lock.

mod files;
mod inspect;
mod lifecycle;
mod list;
mod logs;
mod monitor;
mod refused;
mod streams;
mod terminals;

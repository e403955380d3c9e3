//! Hijacked and followed streams, by clients that half-close, die, stall and come in crowds.

mod attach;
mod crowd;
mod exec;
mod follow;
mod websocket;

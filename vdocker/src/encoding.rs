//! How the bytes of a container's streams look on the way to a client.

use bytes::Buf;

use crate::frame::Frame;
use crate::log::Stream;
use crate::stdcopy;
use crate::websocket::{self, Opcode};

/// How bytes look for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// In frames of [`stdcopy`].
    Multiplexed,
    /// In frames of a WebSocket.
    WebSocket(Opcode),
}

impl Encoding {
    /// Bytes of a stream as the client gets them.
    pub fn frame<P: Buf>(self, stream: Stream, bytes: P) -> Frame<P> {
        match self {
            Self::Raw => Frame::from(bytes),
            Self::Multiplexed => stdcopy::frame(stream, bytes),
            Self::WebSocket(opcode) => websocket::frame(opcode, bytes),
        }
    }
}

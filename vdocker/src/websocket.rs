//! The server's side of WebSockets (RFC 6455): the answer to a handshake, frames taken apart and made. Knows nothing
//! of connections.

mod decoder;
mod handshake;

use bytes::{Buf, Bytes};

pub use decoder::{Decoder, Message};
pub use handshake::{Accepted, HandshakeError, accept};

use crate::frame::Frame;

/// What a frame is (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0,
    /// Text in UTF-8.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

/// Why a connection ends (section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// All is said.
    Normal = 1000,
    /// The client breaks the protocol.
    ProtocolError = 1002,
    /// The client's frame is too large.
    TooBig = 1009,
}

impl CloseCode {
    /// As the payload of a close frame.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 2] {
        (self as u16).to_be_bytes()
    }
}

/// A whole message in one frame.
#[must_use]
pub fn frame<P: Buf>(opcode: Opcode, payload: P) -> Frame<P> {
    const FINAL: u8 = 0x80;
    let first = FINAL | opcode as u8;
    let long = (payload.remaining() as u64).to_be_bytes();
    match payload.remaining() {
        0..=125 => Frame::new(&[first, long[7]], payload),
        126..=0xffff => Frame::new(&[first, 126, long[6], long[7]], payload),
        _ => {
            let [a, b, c, d, e, f, g, h] = long;
            Frame::new(&[first, 127, a, b, c, d, e, f, g, h], payload)
        }
    }
}

/// The answer to a ping.
#[must_use]
pub fn pong_frame(payload: Bytes) -> Frame {
    frame(Opcode::Pong, payload)
}

/// The last frame; its payload is a code and a reason, or nothing.
#[must_use]
pub fn close_frame(payload: &[u8]) -> Frame {
    frame(Opcode::Close, Bytes::copy_from_slice(payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: usize) -> Vec<u8> {
        let mut frame = frame(Opcode::Binary, Bytes::from(vec![0; len]));
        let header = frame.remaining() - len;
        frame.copy_to_bytes(header).to_vec()
    }

    #[test]
    fn lengths_have_three_forms() {
        assert_eq!(header(0), [0x82, 0]);
        assert_eq!(header(125), [0x82, 125]);
        assert_eq!(header(126), [0x82, 126, 0, 126]);
        assert_eq!(header(0xffff), [0x82, 126, 0xff, 0xff]);
        assert_eq!(header(0x1_0000), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn control_frames_say_what_they_are() {
        let mut close = close_frame(&CloseCode::TooBig.to_bytes());
        assert_eq!(&close.copy_to_bytes(4)[..], [0x88, 2, 0x03, 0xf1]);
        let mut pong = pong_frame(Bytes::from_static(b"x"));
        assert_eq!(&pong.copy_to_bytes(3)[..], [0x8a, 1, b'x']);
    }
}

//! Takes a client's frames apart (RFC 6455, section 5), however they are cut by reads: messages are a stream of
//! bytes here, so nothing but a control frame is ever kept.

use bytes::{Buf, Bytes, BytesMut};

use super::{CloseCode, Opcode};

/// The longest frame, in bytes.
const MAX_FRAME: u64 = 16 << 20;

/// The longest control frame (section 5.5).
const MAX_CONTROL: u64 = 125;

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Some bytes of a message, text or binary.
    Data(BytesMut),
    /// Wants these bytes back.
    Ping(Bytes),
    /// Sends some back.
    Pong,
    /// Says farewell, with a code and a reason or without.
    Close(Bytes),
}

/// Where in the stream of frames a client is.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The data frame whose payload is coming.
    current: Option<Payload>,
    /// Whether a message has begun that is not finished.
    in_message: bool,
}

#[derive(Debug)]
struct Payload {
    left: u64,
    mask: [u8; 4],
}

#[derive(Debug)]
struct Header {
    is_final: bool,
    opcode: Opcode,
    len: u64,
    mask: [u8; 4],
    bytes: usize,
}

impl Decoder {
    /// The next message or piece of one at the start of `input`; `None`: more bytes are needed.
    ///
    /// # Errors
    /// The code to close with. The decoder is of no use after it.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Message>, CloseCode> {
        loop {
            if let Some(data) = self.take_data(input) {
                return Ok(Some(data));
            }
            if self.current.is_some() {
                return Ok(None);
            }
            let Some(header) = Header::parse(input)? else { return Ok(None) };
            if header.opcode.is_control() {
                return self.control(&header, input);
            }
            let is_first = header.opcode != Opcode::Continuation;
            if is_first == self.in_message {
                return Err(CloseCode::ProtocolError);
            }
            self.in_message = !header.is_final;
            input.advance(header.bytes);
            self.current = Some(Payload { left: header.len, mask: header.mask });
        }
    }

    /// What is there of a data frame's payload. Leaves the frame when it is complete.
    fn take_data(&mut self, input: &mut BytesMut) -> Option<Message> {
        let payload = self.current.as_mut()?;
        let count = usize::try_from(payload.left).unwrap_or(usize::MAX).min(input.len());
        let mut data = input.split_to(count);
        unmask(&mut data, payload.mask);
        payload.mask.rotate_left(count % 4);
        payload.left -= count as u64;
        if payload.left == 0 {
            self.current = None;
        }
        (count > 0).then_some(Message::Data(data))
    }

    fn control(&self, header: &Header, input: &mut BytesMut) -> Result<Option<Message>, CloseCode> {
        if !header.is_final || header.len > MAX_CONTROL {
            return Err(CloseCode::ProtocolError);
        }
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        if input.len() < header.bytes + len {
            return Ok(None);
        }
        input.advance(header.bytes);
        let mut payload = input.split_to(len);
        unmask(&mut payload, header.mask);
        match header.opcode {
            Opcode::Ping => Ok(Some(Message::Ping(payload.freeze()))),
            Opcode::Pong => Ok(Some(Message::Pong)),
            _ if payload.len() == 1 => Err(CloseCode::ProtocolError),
            _ => Ok(Some(Message::Close(payload.freeze()))),
        }
    }
}

impl Header {
    /// Reads a header, without taking it; `None` where it is not complete.
    fn parse(input: &[u8]) -> Result<Option<Self>, CloseCode> {
        const RESERVED: u8 = 0x70;
        const HIGH: u8 = 0x80;
        let &[first, second, ref rest @ ..] = input else { return Ok(None) };
        if first & RESERVED != 0 || second & HIGH == 0 {
            return Err(CloseCode::ProtocolError);
        }
        let opcode = Opcode::parse(first & 0x0f)?;
        let length_bytes = match second & !HIGH {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((length, rest)) = rest.split_at_checked(length_bytes) else { return Ok(None) };
        let Some(&mask) = rest.first_chunk() else { return Ok(None) };
        let len = match length {
            [] => u64::from(second & !HIGH),
            bytes => bytes.iter().fold(0, |len, &byte| len << 8 | u64::from(byte)),
        };
        if len > MAX_FRAME {
            return Err(CloseCode::TooBig);
        }
        let bytes = 2 + length_bytes + mask.len();
        Ok(Some(Self { is_final: first & HIGH != 0, opcode, len, mask, bytes }))
    }
}

impl Opcode {
    const fn parse(number: u8) -> Result<Self, CloseCode> {
        Ok(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(CloseCode::ProtocolError),
        })
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    for (byte, mask) in bytes.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            len @ 0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
            len => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
            }
        }
        bytes.extend_from_slice(&MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// Decodes input that comes in pieces; neighbouring data is joined.
    fn decode(input: &[u8], cut: usize) -> Result<Vec<Message>, CloseCode> {
        let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
        let mut found = Vec::new();
        for piece in input.chunks(cut) {
            buffer.extend_from_slice(piece);
            while let Some(message) = decoder.decode(&mut buffer)? {
                match (found.last_mut(), message) {
                    (Some(Message::Data(joined)), Message::Data(data)) => joined.extend_from_slice(&data),
                    (_, message) => found.push(message),
                }
            }
        }
        Ok(found)
    }

    fn data(bytes: &[u8]) -> Message {
        Message::Data(BytesMut::from(bytes))
    }

    #[test]
    fn messages_are_a_stream_with_control_frames_between() {
        let long = vec![b'x'; 300];
        let input = [
            frame(0x01, b"one"),
            frame(0x89, b"are you there"),
            frame(0x80, b"two"),
            frame(0x82, b""),
            frame(0x82, &long),
            frame(0x8a, b""),
            frame(0x88, &[0x03, 0xe8, b'!']),
        ]
        .concat();
        for cut in 1..=input.len() {
            let found = decode(&input, cut).unwrap();
            let wanted = [
                data(b"one"),
                Message::Ping(Bytes::from_static(b"are you there")),
                data(&[b"two", &long[..]].concat()),
                Message::Pong,
                Message::Close(Bytes::from_static(&[0x03, 0xe8, b'!'])),
            ];
            assert_eq!(found, wanted, "cut at {cut}");
        }
    }

    #[test]
    fn refuses_what_the_protocol_forbids() {
        let unmasked = [0x82, 1, b'x'];
        let broken = [
            ("unmasked", unmasked.to_vec()),
            ("reserved bit", frame(0xc2, b"x")),
            ("unknown opcode", frame(0x83, b"x")),
            ("continuation of nothing", frame(0x80, b"x")),
            ("message within a message", [frame(0x01, b"x"), frame(0x81, b"y")].concat()),
            ("cut control frame", frame(0x09, b"x")),
            ("long control frame", frame(0x89, &[0; 126])),
            ("half a code", frame(0x88, b"x")),
        ];
        for (what, input) in broken {
            assert_eq!(decode(&input, 99), Err(CloseCode::ProtocolError), "{what}");
        }
    }

    #[test]
    fn refuses_frames_that_are_too_long_by_their_header() {
        let mut huge = vec![0x82, 0x80 | 127];
        huge.extend_from_slice(&u64::MAX.to_be_bytes());
        huge.extend_from_slice(&MASK);
        assert_eq!(decode(&huge, 99), Err(CloseCode::TooBig));
    }
}

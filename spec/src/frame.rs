//! Frames of the stdio stream between the guest and the VM's process on the host.
//!
//! The guest connects to [`crate::vsock::STDIO_PORT`] on the host once. Each frame is an eight-byte header and
//! a payload. Output of all containers and the exit record go up; input, signals and the acknowledgement
//! go down. The guest powers off after the host acknowledged the exit record, which may take as long as whoever
//! reads the output pauses, or after ten minutes.
//!
//! ```text
//! offset  0        1           2..4            4..8
//!         kind u8  container   zero            payload length in bytes, u32 little-endian
//! ```

/// Bytes in a frame's header.
pub const HEADER_LEN: usize = 8;

/// The longest payload in bytes. A longer one is a protocol error and ends the stream.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Bytes of a container's standard input that the host may have sent and the guest not yet reported as
/// [`Kind::StdinTaken`]. The guest keeps that many for a process that does not read, so that signals and
/// stops behind them are never held up; the host sends no more.
pub const STDIN_WINDOW: usize = 256 * 1024;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Guest to host: bytes of a container's standard output, or of its terminal.
    Stdout = 1,
    /// Guest to host: bytes of a container's standard error.
    Stderr = 2,
    /// Guest to host: a container's process was started; payload: its pid in the guest, u32 little-endian.
    Started = 3,
    /// Guest to host: a container's process ended; payload: JSON of [`crate::ContainerExit`].
    Exited = 4,
    /// Guest to host: a line of guest-init itself, UTF-8 without a line feed.
    Log = 5,
    /// Guest to host, last: JSON of [`crate::ExitRecord`].
    Final = 6,
    /// Guest to host: bytes of a container's standard input that its process, or the end of its process,
    /// took since the last such frame; payload: u32 little-endian. See [`STDIN_WINDOW`].
    StdinTaken = 7,
    /// Guest to host: a [`Kind::Grow`] is done; payload: the disk's index, u32 little-endian, then why it failed, UTF-8, or
    /// nothing.
    Grown = 8,
    /// Guest to host: a [`Kind::Link`] is done; payload: the device's slot, u32 little-endian, then why it failed, UTF-8, or
    /// nothing.
    Linked = 9,
    /// Host to guest: bytes for a container's standard input.
    Stdin = 16,
    /// Host to guest: end of a container's standard input.
    StdinEof = 17,
    /// Host to guest: terminal size; payload: rows then columns, u16 little-endian each.
    Resize = 18,
    /// Host to guest: send a signal to a container's first process; payload: u32 little-endian.
    Signal = 19,
    /// Host to guest: stop all containers in order, then power off; payload: grace period in seconds for
    /// all of them, u32 little-endian, or nothing for each container's own.
    Stop = 20,
    /// Host to guest: the exit record is on the host's disk, power off now.
    FinalAck = 21,
    /// Host to guest: the disk of a named volume has become larger; payload: its index in the launch specification, u32, and
    /// its bytes, u64, little-endian.
    Grow = 22,
    /// Host to guest: an interface comes or goes; payload: JSON of [`crate::launch::LinkChange`].
    Link = 23,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 17] = [
        Self::Stdout,
        Self::Stderr,
        Self::Started,
        Self::Exited,
        Self::Log,
        Self::Final,
        Self::StdinTaken,
        Self::Grown,
        Self::Linked,
        Self::Stdin,
        Self::StdinEof,
        Self::Resize,
        Self::Signal,
        Self::Stop,
        Self::FinalAck,
        Self::Grow,
        Self::Link,
    ];
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is.
    pub kind: Kind,
    /// The container's index in the launch specification; 0 where the kind speaks of none.
    pub container: u8,
    /// Bytes of payload that follow, at most [`MAX_PAYLOAD`].
    pub len: u32,
}

/// Why eight bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The first byte is no [`Kind`].
    Kind(u8),
    /// The reserved bytes are not zero.
    Reserved,
    /// The payload would be longer than [`MAX_PAYLOAD`].
    TooLong(u32),
}

impl std::fmt::Display for HeaderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "frame of unknown kind {kind}"),
            Self::Reserved => write!(f, "frame header has reserved bytes set"),
            Self::TooLong(len) => write!(f, "frame payload of {len} bytes is over {MAX_PAYLOAD}"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl Header {
    /// The header of a frame with `payload_len` bytes of payload.
    ///
    /// # Errors
    /// [`HeaderError::TooLong`] where the payload does not fit a frame.
    pub fn new(kind: Kind, container: u8, payload_len: usize) -> Result<Self, HeaderError> {
        let len = u32::try_from(payload_len).unwrap_or(u32::MAX);
        if payload_len > MAX_PAYLOAD {
            return Err(HeaderError::TooLong(len));
        }
        Ok(Self { kind, container, len })
    }

    /// The header's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let len = self.len.to_le_bytes();
        [self.kind as u8, self.container, 0, 0, len[0], len[1], len[2], len[3]]
    }

    /// Reads a header that came from the other side.
    ///
    /// # Errors
    /// What is wrong with the bytes; the stream cannot be read on after it.
    pub fn decode(bytes: [u8; HEADER_LEN]) -> Result<Self, HeaderError> {
        let [kind, container, zero0, zero1, len @ ..] = bytes;
        let kind = Kind::ALL.into_iter().find(|known| *known as u8 == kind).ok_or(HeaderError::Kind(kind))?;
        if zero0 != 0 || zero1 != 0 {
            return Err(HeaderError::Reserved);
        }
        let len = u32::from_le_bytes(len);
        if len as usize > MAX_PAYLOAD {
            return Err(HeaderError::TooLong(len));
        }
        Ok(Self { kind, container, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_wire() {
        for kind in Kind::ALL {
            let header = Header::new(kind, 7, MAX_PAYLOAD).unwrap();
            assert_eq!(Header::decode(header.encode()), Ok(header));
        }
    }

    #[test]
    fn hostile_headers_are_refused() {
        assert_eq!(Header::decode([0, 0, 0, 0, 0, 0, 0, 0]), Err(HeaderError::Kind(0)));
        assert_eq!(Header::decode([1, 0, 0, 9, 0, 0, 0, 0]), Err(HeaderError::Reserved));
        assert_eq!(Header::decode([1, 0, 0, 0, 255, 255, 255, 255]), Err(HeaderError::TooLong(u32::MAX)));
        assert_eq!(Header::new(Kind::Stdout, 0, MAX_PAYLOAD + 1), Err(HeaderError::TooLong(65537)));
    }
}

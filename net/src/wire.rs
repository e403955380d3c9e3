//! The messages on a network's socket: a length of four bytes, little endian, and so many bytes of JSON. The answer's
//! length comes with the queues of the tap (SCM_RIGHTS).

use serde::{Deserialize, Serialize};

use crate::message::{Answer, Change, Request};
use crate::port::Port;

/// The longest message in bytes.
pub(crate) const MAX_MESSAGE: usize = 256 << 10;

/// The most queues of a tap.
pub(crate) const MAX_QUEUES: u8 = 16;

/// What is asked of a network's process, one question a connection.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) enum Question {
    /// A place on the network.
    Attach(Box<Request>),
    /// Which addresses, or which names of an address, the pods of the network have.
    Lookup(String),
    /// Something changes for a pod that is on the network.
    Change {
        /// The pod's id.
        pod: String,
        /// What.
        change: Change,
    },
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) enum Reply {
    /// The place is there for as long as the connection.
    Attached(Box<Answer>),
    /// Addresses of the name, or names of the address; `None`: no pod has it.
    Found(Option<Vec<String>>),
    /// So it is; the ports that the host publishes since, where they have changed.
    Changed(Vec<Port>),
    /// Why not.
    Refused(String),
}

/// A message with its length before it, which is within the limit.
pub(crate) fn encode<T: Serialize>(message: &T) -> std::io::Result<([u8; 4], Vec<u8>)> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?.to_le_bytes();
    self::length(length)?;
    Ok((length, bytes))
}

/// The length that four bytes tell, if it is within the limit.
pub(crate) fn length(bytes: [u8; 4]) -> std::io::Result<usize> {
    let length = u32::from_le_bytes(bytes) as usize;
    if length > MAX_MESSAGE { Err(std::io::Error::other("a message is too long")) } else { Ok(length) }
}

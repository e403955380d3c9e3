//! DNS messages (RFC 1035) as far as the resolver reads and writes them: one question, and answers of addresses and names.
//! What it does not answer itself it passes on byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Bytes of a message's header.
const HEADER: usize = 12;
/// The longest answer over UDP of our own.
const MOST: usize = 512;
/// The longest name, with its lengths.
const LONGEST_NAME: usize = 255;
/// Seconds that an answer of our own may be kept.
const TIME_TO_LIVE: u32 = 10;

const KIND_A: u16 = 1;
const KIND_PTR: u16 = 12;
const KIND_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;

/// A flag of the header: it is a response.
const RESPONSE: u16 = 0x8000;

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Good = 0,
    Malformed = 1,
    Failed = 2,
    NotImplemented = 4,
}

/// What a query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Addresses of a name, of IPv4 or of IPv6.
    Addresses { name: String, ipv6: bool },
    /// Names of an address.
    Names(IpAddr),
    /// Anything else of a name; or of a name that is none of ours for its bytes.
    Other { name: Option<String> },
}

/// A query with one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) asked: Asked,
    /// Where the question is.
    question: Range<usize>,
}

/// What a packet that is no query of one question gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// No answer.
    Silence,
    /// An answer of the header alone.
    Answer(Code),
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

impl Query {
    /// Reads a query.
    pub(super) fn parse(message: &[u8]) -> Result<Self, Wrong> {
        let flags = number(message, 2).ok_or(Wrong::Silence)?;
        if message.len() < HEADER || flags & RESPONSE != 0 {
            return Err(Wrong::Silence);
        }
        if flags & 0x7800 != 0 {
            return Err(Wrong::Answer(Code::NotImplemented));
        }
        let (name, question, kind) = question(message).ok_or(Wrong::Answer(Code::Malformed))?;
        let asked = match (kind, name) {
            (Some(KIND_A), Some(name)) => Asked::Addresses { name, ipv6: false },
            (Some(KIND_AAAA), Some(name)) => Asked::Addresses { name, ipv6: true },
            (Some(KIND_PTR), Some(name)) => match address(&name) {
                Some(address) => Asked::Names(address),
                None => Asked::Other { name: Some(name) },
            },
            (_, name) => Asked::Other { name },
        };
        Ok(Self { asked, question })
    }

    /// An answer to this query, which `message` is. Of too many records the last are left out.
    pub(super) fn answer(&self, message: &[u8], code: Code, records: &[Record]) -> Vec<u8> {
        let mut answer = header(message, code);
        answer[5] = 1;
        answer.extend(&message[self.question.clone()]);
        let mut count = 0_u16;
        for record in records {
            let bytes = record.encode();
            if answer.len() + bytes.len() > MOST {
                break;
            }
            answer.extend(bytes);
            count += 1;
        }
        answer[6..8].copy_from_slice(&count.to_be_bytes());
        answer
    }

    /// Whether `response` is one to this query, which was passed on with the number `id`.
    pub(super) fn is_answered_by(&self, message: &[u8], response: &[u8], id: u16) -> bool {
        let header = number(response, 0) == Some(id)
            && number(response, 2).is_some_and(|flags| flags & RESPONSE != 0)
            && response.len() >= HEADER;
        // A server that understands nothing leaves the question out.
        let none = number(response, 4) == Some(0) && response.get(3).is_some_and(|byte| byte & 0xf != 0);
        let same = || {
            let theirs = response.get(self.question.clone());
            number(response, 4) == Some(1)
                && theirs.is_some_and(|theirs| theirs.eq_ignore_ascii_case(&message[self.question.clone()]))
        };
        header && (none || same())
    }
}

/// An answer of the header alone.
pub(super) fn bare(message: &[u8], code: Code) -> Vec<u8> {
    header(message, code)
}

/// The header of a response to `message`, which has one: recursion is available, no records yet.
fn header(message: &[u8], code: Code) -> Vec<u8> {
    let wishes = message[2] & 0x79;
    let mut header = vec![message[0], message[1], 0x80 | wishes, 0x80 | code as u8];
    header.resize(HEADER, 0);
    header
}

/// The one question: its name where that is made of plain characters, where it is, and what kind of records of the internet
/// it asks for.
fn question(message: &[u8]) -> Option<(Option<String>, Range<usize>, Option<u16>)> {
    if number(message, 4)? != 1 {
        return None;
    }
    let mut at = HEADER;
    let (mut name, mut plain) = (String::new(), true);
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..=63 => {}
            // A pointer: there is nothing before the first name that it could mean.
            _ => return None,
        }
        let label = message.get(at..at + length)?;
        at += length;
        if at - HEADER >= LONGEST_NAME {
            return None;
        }
        plain &= label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.');
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    }
    let (kind, class) = (number(message, at)?, number(message, at + 2)?);
    let kind = (class == CLASS_IN).then_some(kind);
    Some((plain.then_some(name), HEADER..at + 4, kind))
}

/// The address that a name under in-addr.arpa or ip6.arpa means.
fn address(name: &str) -> Option<IpAddr> {
    if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut labels = reversed.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = labels.next()?.parse().ok()?;
        }
        return labels.next().is_none().then(|| Ipv4Addr::from(octets).into());
    }
    let reversed = name.strip_suffix(".ip6.arpa")?;
    let mut bits = 0_u128;
    let labels: Vec<_> = reversed.split('.').collect();
    for label in labels.iter().rev() {
        let digit = u128::from_str_radix(label, 16).ok().filter(|_| label.len() == 1)?;
        bits = bits << 4 | digit;
    }
    (labels.len() == 32).then(|| Ipv6Addr::from_bits(bits).into())
}

/// A record of an answer about the name that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// An address.
    Address(IpAddr),
    /// A name.
    Name(String),
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let (kind, data) = match self {
            Self::Address(IpAddr::V4(address)) => (KIND_A, address.octets().to_vec()),
            Self::Address(IpAddr::V6(address)) => (KIND_AAAA, address.octets().to_vec()),
            Self::Name(name) => (KIND_PTR, labels(name)),
        };
        // The name is the question's.
        let mut bytes = vec![0xc0, 0x0c];
        bytes.extend(kind.to_be_bytes());
        bytes.extend(CLASS_IN.to_be_bytes());
        bytes.extend(TIME_TO_LIVE.to_be_bytes());
        bytes.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(data);
        bytes
    }
}

/// A name as labels. What fits into none is left out: such names are refused before.
fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        if let (Ok(length @ 1..=63), true) = (u8::try_from(label.len()), bytes.len() + label.len() < 254) {
            bytes.push(length);
            bytes.extend(label.as_bytes());
        }
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests;

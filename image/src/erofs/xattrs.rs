//! Extended attributes behind an inode: a header, then entries of name index, name and value, each padded to 4 bytes.

use std::collections::BTreeMap;

use super::format::{XATTR_ENTRY, XATTR_HEADER};
use crate::tree::{Bytes, xattr};

/// Namespaces and their numbers; the ACLs' names are whole.
const NAMESPACES: [(u8, &[u8]); 5] =
    [(1, b"user."), (2, xattr::ACL_ACCESS), (3, xattr::ACL_DEFAULT), (4, b"trusted."), (6, b"security.")];

fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    NAMESPACES.iter().find_map(|&(index, prefix)| Some((index, name.strip_prefix(prefix)?)))
}

/// Bytes of the attributes of one inode, their header included; 0 where there are none.
pub(super) fn measure<'a>(xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> usize {
    let entries: usize = xattrs
        .filter_map(|(name, value)| {
            Some((XATTR_ENTRY + split(name)?.1.len() + value.len()).next_multiple_of(4))
        })
        .sum();
    if entries == 0 { 0 } else { XATTR_HEADER + entries }
}

/// The bytes that [`measure`] counts.
pub(super) fn encode<'a>(xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in xattrs {
        let Some((index, name)) = split(name) else { continue };
        if bytes.is_empty() {
            bytes.resize(XATTR_HEADER, 0);
        }
        // The tree admits no longer names and values.
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.push(index);
        bytes.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// Reads the bytes back; `None` where they are not what [`encode`] writes.
pub(super) fn decode(bytes: &[u8]) -> Option<BTreeMap<Bytes, Bytes>> {
    let mut found = BTreeMap::new();
    let (_, mut rest) = bytes.split_at_checked(XATTR_HEADER)?;
    while let Some((entry, after)) = rest.split_first_chunk::<XATTR_ENTRY>() {
        let [name_length, index, size @ ..] = entry;
        let (name_length, value_length) = (usize::from(*name_length), usize::from(u16::from_le_bytes(*size)));
        let (name, value) = after.get(..name_length + value_length)?.split_at(name_length);
        let (_, prefix) = NAMESPACES.iter().find(|(number, _)| number == index)?;
        found.insert([*prefix, name].concat().into(), value.into());
        let padded = (XATTR_ENTRY + name_length + value_length).next_multiple_of(4);
        rest = rest.get(padded..)?;
    }
    rest.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_their_bytes() {
        let pairs: [(&[u8], &[u8]); 5] = [
            (b"security.capability", b"\x01\0\0\x02"),
            (b"system.posix_acl_access", b"acl"),
            (b"trusted.x", b""),
            (b"user.a", b"12345"),
            (b"user.b", &[7; 65535]),
        ];
        let bytes = encode(pairs.iter().copied());
        assert_eq!(bytes.len(), measure(pairs.iter().copied()));
        let read = decode(&bytes).unwrap();
        assert_eq!(read.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>(), pairs);
        assert_eq!(decode(&bytes[..bytes.len() - 4]), None);
        assert_eq!(measure(std::iter::empty()), 0);
    }
}

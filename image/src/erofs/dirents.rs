//! Directory data: blocks of sorted entries, each block with its entries' numbers first and their names behind.

use super::format::{BLOCK, DIRENT_SIZE};

/// An entry to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dirent<'a> {
    pub(super) name: &'a [u8],
    pub(super) nid: u64,
    pub(super) kind: u8,
}

/// Bytes of a directory whose sorted entries have these names' lengths: whole blocks, and the last one as far as it is
/// used.
pub(super) fn measure(lengths: impl Iterator<Item = usize>) -> u64 {
    let (mut blocks, mut used) = (0_u64, 0);
    for length in lengths {
        if used + DIRENT_SIZE + length > BLOCK {
            blocks += 1;
            used = 0;
        }
        used += DIRENT_SIZE + length;
    }
    blocks * BLOCK as u64 + used as u64
}

/// The bytes that [`measure`] counts, of entries sorted by name.
pub(super) fn encode(entries: &[Dirent<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let (mut used, mut count) = (0, 0);
        for entry in rest {
            if used + DIRENT_SIZE + entry.name.len() > BLOCK {
                break;
            }
            used += DIRENT_SIZE + entry.name.len();
            count += 1;
        }
        let (block, after) = rest.split_at(count);
        rest = after;
        let mut name_offset = count * DIRENT_SIZE;
        for entry in block {
            bytes.extend_from_slice(&entry.nid.to_le_bytes());
            // Inside a block of 4096 bytes.
            bytes.extend_from_slice(&u16::try_from(name_offset).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend_from_slice(&[entry.kind, 0]);
            name_offset += entry.name.len();
        }
        for entry in block {
            bytes.extend_from_slice(entry.name);
        }
        if !rest.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
    }
    bytes
}

/// The entries of one block as far as it is used; `None` where it is not what [`encode`] writes.
pub(super) fn decode(block: &[u8]) -> Option<Vec<Dirent<'_>>> {
    let first = block.get(8..10)?;
    let names = usize::from(u16::from_le_bytes([first[0], first[1]]));
    if names == 0 || names % DIRENT_SIZE != 0 || names > block.len() {
        return None;
    }
    let heads: Vec<(u64, usize, u8)> = block[..names]
        .chunks_exact(DIRENT_SIZE)
        .map(|head| {
            let nid = head[..8].iter().rev().fold(0, |nid, &byte| nid << 8 | u64::from(byte));
            (nid, usize::from(u16::from_le_bytes([head[8], head[9]])), head[10])
        })
        .collect();
    let mut entries = Vec::with_capacity(heads.len());
    for (index, &(nid, start, kind)) in heads.iter().enumerate() {
        let end = heads.get(index + 1).map_or(block.len(), |next| next.1);
        let name = block.get(start..end)?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        if start < names || name.is_empty() || name.len() > 255 || name.contains(&b'/') {
            return None;
        }
        entries.push(Dirent { name, nid, kind });
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_survive_their_blocks() {
        for count in [1, 2, 15, 16, 17, 4000] {
            let names: Vec<Vec<u8>> =
                (0..count).map(|n: u32| format!("{n:05}{}", "x".repeat(250)).into()).collect();
            let entries: Vec<Dirent<'_>> =
                names.iter().zip(40..).map(|(name, nid)| Dirent { name, nid, kind: 1 }).collect();
            let bytes = encode(&entries);
            assert_eq!(bytes.len() as u64, measure(names.iter().map(Vec::len)));
            let read: Vec<Dirent<'_>> =
                bytes.chunks(BLOCK).flat_map(|block| decode(block).unwrap()).collect();
            assert_eq!(read, entries);
        }
    }
}

//! Sparse files in their four forms: old GNU headers, and pax 0.0 (repeated records), 0.1 (one record) and 1.0 (a map
//! before the data).

use std::io::Read;

use crate::Extent;
use crate::header::{BLOCK, Header, number};
use crate::pax::{Records, decimal};
use crate::{Archive, TarError};

/// The form of an entry's sparse map.
pub(crate) enum Form {
    /// Extents of the header, whether blocks with more follow, the real size.
    OldGnu { extents: Vec<Extent>, more: bool, size: u64 },
    /// Extents and the real size of pax records.
    Records { extents: Vec<Extent>, size: u64 },
    /// The map begins the data; the real size.
    InData { size: u64 },
}

/// One (offset, length) pair of an old GNU map; `None` is the map's end.
fn old_gnu_pair(pair: &[u8], offset: u64) -> Result<Option<Extent>, TarError> {
    if pair[0] == 0 {
        return Ok(None);
    }
    let problem = "an extent is no pair of numbers";
    let value = |field| number(field).and_then(|value| u64::try_from(value).ok());
    let (at, length) =
        value(&pair[..12]).zip(value(&pair[12..24])).ok_or(TarError::Sparse { offset, problem })?;
    Ok(Some(Extent { offset: at, length }))
}

fn old_gnu_pairs(pairs: &[u8], extents: &mut Vec<Extent>, offset: u64) -> Result<(), TarError> {
    for pair in pairs.chunks_exact(24) {
        match old_gnu_pair(pair, offset)? {
            Some(extent) => extents.push(extent),
            None => break,
        }
    }
    Ok(())
}

impl Form {
    /// The form that a header and its own records announce, if any.
    pub(crate) fn of(header: &Header, own: &Records, offset: u64) -> Result<Option<Self>, TarError> {
        let malformed = |problem| TarError::Sparse { offset, problem };
        if header.flag() == b'S' {
            let (pairs, more, size) = header.old_gnu_sparse();
            let mut extents = Vec::new();
            old_gnu_pairs(pairs, &mut extents, offset)?;
            let size = number(size).and_then(|size| u64::try_from(size).ok());
            let size = size.ok_or(malformed("the real size is no number"))?;
            return Ok(Some(Self::OldGnu { extents, more, size }));
        }
        let size = |key| -> Result<u64, TarError> {
            let value = own.get(key).ok_or(malformed("the real size is missing"))?;
            decimal(value).ok_or(malformed("the real size is no number"))
        };
        match (own.get(b"GNU.sparse.major"), own.get(b"GNU.sparse.minor")) {
            (Some(b"1"), Some(b"0")) => {
                return Ok(Some(Self::InData { size: size(b"GNU.sparse.realsize")? }));
            }
            (None | Some(b"0"), None | Some(b"0" | b"1")) => {}
            _ => return Err(malformed("a version that nobody wrote")),
        }
        let mut extents = Vec::new();
        if let Some(map) = own.get(b"GNU.sparse.map") {
            let numbers = map.split(|&byte| byte == b',').map(decimal);
            let numbers: Option<Vec<u64>> = numbers.collect();
            let numbers = numbers.filter(|numbers| numbers.len() % 2 == 0);
            let numbers = numbers.ok_or(malformed("the map is no list of pairs"))?;
            extents.extend(numbers.chunks_exact(2).map(|pair| Extent { offset: pair[0], length: pair[1] }));
        } else if !own.sparse.is_empty() {
            for pair in own.sparse.chunks(2) {
                let [(true, at), (false, length)] = pair else {
                    return Err(malformed("offsets and lengths do not alternate"));
                };
                let extent =
                    decimal(at).zip(decimal(length)).ok_or(malformed("an extent is no pair of numbers"))?;
                extents.push(Extent { offset: extent.0, length: extent.1 });
            }
        } else if own.get(b"GNU.sparse.size").is_none() {
            return Ok(None);
        }
        Ok(Some(Self::Records { extents, size: size(b"GNU.sparse.size")? }))
    }

    /// Reads what the stream holds of the map; returns the real size and all extents.
    pub(crate) fn load(
        self,
        archive: &mut Archive<'_, impl Read + ?Sized>,
    ) -> Result<(u64, Vec<Extent>), TarError> {
        let loaded = match self {
            Self::Records { extents, size } => (size, extents),
            Self::InData { size } => (size, load_in_data(archive)?),
            Self::OldGnu { mut extents, mut more, size } => {
                while more {
                    let block = archive.read_block()?.ok_or(TarError::Truncated(archive.offset))?;
                    old_gnu_pairs(&block[..504], &mut extents, archive.offset)?;
                    check_count(&extents, archive)?;
                    more = block[504] != 0;
                }
                (size, extents)
            }
        };
        check_count(&loaded.1, archive)?;
        Ok(loaded)
    }
}

fn check_count(extents: &[Extent], archive: &Archive<'_, impl Read + ?Sized>) -> Result<(), TarError> {
    let limit = archive.limits.sparse_extents;
    if extents.len() > limit {
        let what = "the number of extents of a sparse file";
        return Err(TarError::TooLarge { offset: archive.offset, what, limit: limit as u64 });
    }
    Ok(())
}

/// The map of form 1.0: decimal lines (count, then offset and length of each extent), padded to a block.
fn load_in_data(archive: &mut Archive<'_, impl Read + ?Sized>) -> Result<Vec<Extent>, TarError> {
    let mut lines = Lines { archive, block: [0; BLOCK], at: BLOCK };
    let count = lines.number()?;
    let limit = lines.archive.limits.sparse_extents as u64;
    if count > limit {
        let what = "the number of extents of a sparse file";
        return Err(TarError::TooLarge { offset: lines.archive.offset, what, limit });
    }
    let mut extents = Vec::new();
    for _ in 0..count {
        extents.push(Extent { offset: lines.number()?, length: lines.number()? });
    }
    Ok(extents)
}

/// Decimal lines at the beginning of an entry's data, read by whole blocks.
struct Lines<'a, 'b, R: ?Sized> {
    archive: &'a mut Archive<'b, R>,
    block: [u8; BLOCK],
    at: usize,
}

impl<R: Read + ?Sized> Lines<'_, '_, R> {
    fn byte(&mut self) -> Result<u8, TarError> {
        if self.at == BLOCK {
            let mut filled = 0;
            while filled < BLOCK {
                match self.archive.read_data(&mut self.block[filled..])? {
                    0 => {
                        let problem = "the data ends inside the map";
                        return Err(TarError::Sparse { offset: self.archive.offset, problem });
                    }
                    read => filled += read,
                }
            }
            self.at = 0;
        }
        self.at += 1;
        Ok(self.block[self.at - 1])
    }

    fn number(&mut self) -> Result<u64, TarError> {
        let malformed = |offset| TarError::Sparse { offset, problem: "a line of the map is no number" };
        let mut digits = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return decimal(&digits).ok_or(malformed(self.archive.offset)),
                _ if digits.len() == 20 => return Err(malformed(self.archive.offset)),
                byte => digits.push(byte),
            }
        }
    }
}

/// Extents must be in order, apart, inside the file, and together as long as the stored data.
pub(crate) fn check(extents: &[Extent], size: u64, stored: u64, offset: u64) -> Result<(), TarError> {
    let malformed = |problem| TarError::Sparse { offset, problem };
    let (mut end, mut sum) = (0_u64, 0_u64);
    for extent in extents {
        if extent.offset < end {
            return Err(malformed("extents overlap or are out of order"));
        }
        end = extent.offset.checked_add(extent.length).ok_or(malformed("an extent ends nowhere"))?;
        sum += extent.length;
    }
    if end > size {
        return Err(malformed("an extent lies behind the file's end"));
    }
    if sum != stored {
        return Err(malformed("the extents are not as long as the data"));
    }
    Ok(())
}

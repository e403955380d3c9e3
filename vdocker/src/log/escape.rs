//! The content of JSON strings (RFC 8259, section 7), 32 bytes at a time: logs are long, and mostly need no escape but
//! for the ends of their lines.

use std::ops::Range;

use safe_arch::{
    bitor_m128i, bitxor_m128i, cmp_eq_mask_i8_m128i, load_unaligned_m128i, m128i, min_u8_m128i,
    move_mask_i8_m128i, set_splat_i8_m128i,
};

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 32;

/// Bytes that [`escape`] may write for so many.
pub(super) const fn escaped_max(bytes: usize) -> usize {
    6 * bytes + BLOCK
}

/// Writes bytes as the content of a JSON string; they are UTF-8, or become none of JSON's. Returns its length. There
/// have to be [`escaped_max`] bytes, of which those behind the content are anything.
pub(super) fn escape(mut bytes: &[u8], out: &mut [u8]) -> usize {
    let mut length = 0;
    while let Some((block, rest)) = bytes.split_first_chunk::<BLOCK>() {
        let found = to_escape(block).trailing_zeros() as usize;
        put(out, length, block);
        length += found;
        if found == BLOCK {
            bytes = rest;
        } else {
            length += escape_byte(block[found], out, length);
            bytes = &bytes[found + 1..];
        }
    }
    for &byte in bytes {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            length += escape_byte(byte, out, length);
        } else {
            out[length] = byte;
            length += 1;
        }
    }
    length
}

#[inline]
fn put<const N: usize>(out: &mut [u8], at: usize, bytes: &[u8; N]) {
    if let Some(place) = out.get_mut(at..).and_then(|out| out.first_chunk_mut()) {
        *place = *bytes;
    }
}

/// Writes the escape of a byte. Returns its length.
#[inline]
fn escape_byte(byte: u8, out: &mut [u8], at: usize) -> usize {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        b'"' | b'\\' => byte,
        _ => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            put(out, at, &[b'\\', b'u', b'0', b'0', digits[0], digits[1]]);
            return 6;
        }
    };
    put(out, at, &[b'\\', short]);
    2
}

/// Replaces the content of a JSON string by what it stands for, as far as [`escape`] writes it: of `\u` only `\u00`.
/// The content is a range of the memory; what it stands for goes to a place at least [`BLOCK`] bytes before, and what
/// is behind it there, up to the content's end, is anything. Returns its length.
pub(super) fn unescape(memory: &mut [u8], text: Range<usize>, at: usize) -> Option<usize> {
    // A block that is written ends where the one that was read began, or before: it covers nothing that is to be read.
    debug_assert!(at + BLOCK <= text.start);
    let mut rest = memory.get_mut(at..text.end)?;
    let whole = rest.len();
    // From what is written to what is read. So short a number cannot overflow below, which spares tests of that.
    let mut gap = u32::try_from(text.start.checked_sub(at)?).ok()?;
    while let Some(block) = rest.get(gap as usize..gap as usize + BLOCK) {
        let block = *block.first_chunk::<BLOCK>()?;
        *rest.first_chunk_mut()? = block;
        let found = backslashes(&block);
        if found == 0 {
            rest = rest.get_mut(BLOCK..)?;
            continue;
        }
        let clean = found.trailing_zeros() as usize;
        let (byte, told) = unescape_byte(rest.get(gap as usize + clean + 1..)?)?;
        *rest.get_mut(clean)? = byte;
        rest = rest.get_mut(clean + 1..)?;
        gap += told;
    }
    let mut to = 0;
    while let Some(&byte) = rest.get(to + gap as usize) {
        let (byte, told) = match byte {
            b'\\' => unescape_byte(&rest[to + gap as usize + 1..])?,
            byte => (byte, 0),
        };
        rest[to] = byte;
        to += 1;
        gap += told;
    }
    Some(whole - rest.len() + to)
}

/// Takes what follows a backslash. Returns what it stands for, and how many bytes told of it.
#[inline]
fn unescape_byte(text: &[u8]) -> Option<(u8, u32)> {
    /// What letters stand for; 0 is none.
    const SHORT: [u8; 256] = {
        let mut short = [0; 256];
        short[b'n' as usize] = b'\n';
        short[b't' as usize] = b'\t';
        short[b'r' as usize] = b'\r';
        short[b'"' as usize] = b'"';
        short[b'\\' as usize] = b'\\';
        short
    };
    let &letter = text.first()?;
    match SHORT[usize::from(letter)] {
        0 if letter == b'u' => Some((hexadecimal(text.get(1..5)?.strip_prefix(b"00")?)?, 5)),
        0 => None,
        byte => Some((byte, 1)),
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0, |number, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | value)
    })
}

/// A bit for each byte of a block that cannot stand in a JSON string as it is, the first byte's the lowest.
fn to_escape(block: &[u8; BLOCK]) -> u32 {
    // Turning a bit brings the quote to 0x20, behind the control characters, and two harmless ones above it.
    bits(block, |bytes| {
        let turned = bitxor_m128i(bytes, splat(0x02));
        let low = cmp_eq_mask_i8_m128i(min_u8_m128i(turned, splat(0x20)), turned);
        bitor_m128i(low, cmp_eq_mask_i8_m128i(bytes, splat(b'\\')))
    })
}

/// A bit for each backslash of a block.
fn backslashes(block: &[u8; BLOCK]) -> u32 {
    bits(block, |bytes| cmp_eq_mask_i8_m128i(bytes, splat(b'\\')))
}

#[inline]
fn splat(byte: u8) -> m128i {
    set_splat_i8_m128i(byte.cast_signed())
}

/// The bits of the bytes that a test fills with ones.
#[inline]
fn bits(block: &[u8; BLOCK], test: impl Fn(m128i) -> m128i) -> u32 {
    let half = |bytes: &[u8; 16]| move_mask_i8_m128i(test(load_unaligned_m128i(bytes))).cast_unsigned();
    match block.as_chunks::<16>().0 {
        [low, high] => half(low) | half(high) << 16,
        _ => 0,
    }
}

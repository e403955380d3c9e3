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
    let memory = memory.get_mut(..text.end)?;
    let (mut from, mut to) = (text.start, at);
    while let Some(block) = memory.get(from..).and_then(|rest| rest.first_chunk::<BLOCK>()).copied() {
        let found = backslashes(&block);
        put(memory, to, &block);
        if found == 0 {
            from += BLOCK;
            to += BLOCK;
            continue;
        }
        let clean = found.trailing_zeros() as usize;
        let (byte, length) = unescape_byte(memory.get(from + clean + 1..)?)?;
        *memory.get_mut(to + clean)? = byte;
        to += clean + 1;
        from += clean + 1 + length;
    }
    while let Some(&byte) = memory.get(from) {
        let (byte, length) = if byte == b'\\' { unescape_byte(&memory[from + 1..])? } else { (byte, 0) };
        memory[to] = byte;
        to += 1;
        from += 1 + length;
    }
    Some(to - at)
}

/// Takes what follows a backslash. Returns what it stands for, and how many bytes told of it.
#[inline]
fn unescape_byte(text: &[u8]) -> Option<(u8, usize)> {
    let byte = match *text.first()? {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        kind @ (b'"' | b'\\') => kind,
        b'u' => return Some((hexadecimal(text.get(1..5)?.strip_prefix(b"00")?)?, 5)),
        _ => return None,
    };
    Some((byte, 1))
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

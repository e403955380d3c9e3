//! Records of pax extended headers: `LENGTH KEY=VALUE\n`, values of any bytes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::Limits;
use crate::TarError;
use crate::{Bytes, Timestamp};

const SCHILY: &[u8] = b"SCHILY.xattr.";
const LIBARCHIVE: &[u8] = b"LIBARCHIVE.xattr.";

/// The records of one or more extended headers; a later one replaces an earlier one of its key.
#[derive(Default)]
pub(crate) struct Records {
    map: BTreeMap<Bytes, Bytes>,
    /// `GNU.sparse.offset` and `GNU.sparse.numbytes`, the only keys that repeat, in their order.
    pub(crate) sparse: Vec<(bool, Bytes)>,
    held: u64,
}

/// An entry's own records over the archive's global ones.
pub(crate) struct View<'a> {
    pub(crate) own: &'a Records,
    pub(crate) globals: &'a Records,
}

impl Records {
    /// Adds the records of a header's payload.
    pub(crate) fn extend(
        &mut self,
        mut payload: &[u8],
        limits: &Limits,
        offset: u64,
    ) -> Result<(), TarError> {
        let malformed = |problem| TarError::Pax { offset, problem };
        self.held += payload.len() as u64;
        if self.held > limits.pax_bytes {
            let what = "the sum of extended headers";
            return Err(TarError::TooLarge { offset, what, limit: limits.pax_bytes });
        }
        while payload.iter().any(|&byte| byte != 0) {
            let space =
                payload.iter().position(|&byte| byte == b' ').ok_or(malformed("a record has no length"))?;
            let length = decimal(&payload[..space]).ok_or(malformed("a record's length is no number"))?;
            let length = usize::try_from(length).map_err(|_| malformed("a record is too long"))?;
            let record =
                payload.get(space + 1..length).ok_or(malformed("a record is longer than its header"))?;
            let record =
                record.strip_suffix(b"\n").ok_or(malformed("a record does not end with its line"))?;
            let equals =
                record.iter().position(|&byte| byte == b'=').ok_or(malformed("a record has no value"))?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            if key.is_empty() || key.contains(&0) {
                return Err(malformed("a record's key is empty or has a NUL"));
            }
            match key {
                b"GNU.sparse.offset" => self.sparse.push((true, value.into())),
                b"GNU.sparse.numbytes" => self.sparse.push((false, value.into())),
                _ => {
                    self.map.insert(key.into(), value.into());
                }
            }
            payload = &payload[length..];
        }
        Ok(())
    }

    /// A record's value; an empty one counts as none.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.map.get(key).map(|value| &**value).filter(|value| !value.is_empty())
    }
}

impl View<'_> {
    /// The entry's own record, or the global one; an empty own record takes the global one away.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        if self.own.map.contains_key(key) { self.own.get(key) } else { self.globals.get(key) }
    }

    /// A record that is a number of 63 bits.
    pub(crate) fn number(
        &self,
        key: &[u8],
        problem: &'static str,
        offset: u64,
    ) -> Result<Option<i64>, TarError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let value = decimal(value).and_then(|value| i64::try_from(value).ok());
        value.map(Some).ok_or(TarError::Pax { offset, problem })
    }

    /// Extended attributes by full name. SCHILY's form has the raw value, libarchive's a URL-encoded name and a base64
    /// value; where both are there, they say the same.
    pub(crate) fn xattrs(&self) -> BTreeMap<Bytes, Bytes> {
        let mut found = BTreeMap::new();
        for records in [self.globals, self.own] {
            for (key, value) in &records.map {
                if let Some(name) = key.strip_prefix(LIBARCHIVE)
                    && let Some((name, value)) = unescape(name).zip(decode_base64(value))
                {
                    found.insert(name.into(), value.into());
                }
            }
            for (key, value) in &records.map {
                if let Some(name) = key.strip_prefix(SCHILY) {
                    found.insert(name.into(), value.clone());
                }
            }
        }
        found
    }
}

/// Decimal digits and nothing else.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Seconds with an optional sign and fraction; digits past nanoseconds round down, as the kernel's clocks do.
pub(crate) fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let whole = parts.next()?;
    let fraction = parts.next().unwrap_or_default();
    if whole.is_empty() && fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = if whole.is_empty() { 0 } else { i64::try_from(decimal(whole)?).ok()? };
    let digits = (0..9).map(|index| fraction.get(index).map_or(0, |&byte| u32::from(byte - b'0')));
    let nanos = digits.fold(0, |value, digit| value * 10 + digit);
    let beyond = fraction.get(9..).is_some_and(|rest| rest.iter().any(|&byte| byte != b'0'));
    if !negative {
        return Some(Timestamp { seconds, nanos });
    }
    let nanos = nanos + u32::from(beyond);
    if nanos == 0 {
        return Some(Timestamp { seconds: -seconds, nanos: 0 });
    }
    Some(Timestamp { seconds: (-seconds).checked_sub(1)?, nanos: 1_000_000_000 - nanos })
}

/// Undoes `%XX`.
fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let (hex, tail) = rest.split_at_checked(2)?;
        plain.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = tail;
    }
    Some(plain)
}

/// Base64 of the common alphabet, padded or not.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, config).decode(text.trim_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_count_forward() {
        let time = |text: &str| timestamp(text.as_bytes()).map(|time| (time.seconds, time.nanos));
        assert_eq!(time("1700000000.123456789"), Some((1_700_000_000, 123_456_789)));
        assert_eq!(time("-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time("-1"), Some((-1, 0)));
        assert_eq!(time("-0.25"), Some((-1, 750_000_000)));
        assert_eq!(time("12."), Some((12, 0)));
        assert_eq!(time(".5"), Some((0, 500_000_000)));
        assert_eq!(time("1.0000000009"), Some((1, 0)));
        assert_eq!(time("-1.0000000001"), Some((-2, 999_999_999)));
        for bad in ["", ".", "-", "1.x", "x", "1e3", "99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn libarchive_values_are_decoded() {
        assert_eq!(decode_base64(b"aGVsbG8=").unwrap(), b"hello");
        assert_eq!(decode_base64(b"AQAAAgAEAAA").unwrap(), [1, 0, 0, 2, 0, 4, 0, 0]);
        assert_eq!(decode_base64(b"/+8=").unwrap(), [0xff, 0xef]);
        assert_eq!(decode_base64(b"a b"), None);
        assert_eq!(unescape(b"user.a%20b").unwrap(), b"user.a b");
        assert_eq!(unescape(b"user.a%2"), None);
    }
}

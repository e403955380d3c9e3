//! Digests as text: lower-case hexadecimal digits, both cases read.

use std::fmt::Write as _;

/// Why a text is no value of that length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// A character that is no digit.
    #[error("{0:?} is no hexadecimal digit")]
    Digit(char),
    /// Too few or too many digits.
    #[error("{found} hexadecimal digits where {wanted} are needed")]
    Length {
        /// What is needed.
        wanted: usize,
        /// What is there.
        found: usize,
    },
    /// Digits come in pairs.
    #[error("an odd number of hexadecimal digits, {0}")]
    Odd(usize),
}

/// The text of some bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of a text.
///
/// # Errors
/// What is no hexadecimal number of whole bytes.
pub fn decode(text: &str) -> Result<Vec<u8>, HexError> {
    let digits = text
        .chars()
        .map(|digit| match digit.to_digit(16) {
            Some(value) => Ok(u8::try_from(value).unwrap_or_default()),
            None => Err(HexError::Digit(digit)),
        })
        .collect::<Result<Vec<u8>, _>>()?;
    if digits.len() % 2 != 0 {
        return Err(HexError::Odd(digits.len()));
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The bytes of a text of exactly `N` of them.
///
/// # Errors
/// What is no such number.
pub fn decode_exact<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let bytes = decode(text)?;
    let found = bytes.len() * 2;
    bytes.try_into().map_err(|_| HexError::Length { wanted: N * 2, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_bytes() {
        assert_eq!(encode(&[0, 0xaf, 0x10]), "00af10");
        assert_eq!(decode_exact("00aF10"), Ok([0, 0xaf, 0x10]));
        assert_eq!(decode_exact::<2>("00af10"), Err(HexError::Length { wanted: 4, found: 6 }));
        assert_eq!(decode("0x10"), Err(HexError::Digit('x')));
        assert_eq!(decode("123"), Err(HexError::Odd(3)));
        assert_eq!(decode("é0"), Err(HexError::Digit('é')));
    }
}

//! Ids: 64 random hexadecimal digits, as Docker's.

use std::fmt::Write as _;
use std::io;

/// A new id.
///
/// # Errors
/// The kernel gives no random bytes.
pub(crate) fn new() -> io::Result<String> {
    let mut bytes = [0_u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    let mut id = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A string takes everything.
        let _ = write!(id, "{byte:02x}");
    }
    Ok(id)
}

/// Whether a text is an id: 64 lower-case hexadecimal digits.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_long_and_differ() {
        let (one, other) = (super::new().unwrap(), super::new().unwrap());
        assert!(one.len() == 64 && one.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        assert_ne!(one, other);
    }
}

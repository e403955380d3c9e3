//! What an SNP guest puts into a report (REPORT_DATA) and its verifier expects there.
//!
//! Both sides hash with their own means: here are the bytes.

use std::ops::RangeInclusive;

/// The fewest and the most bytes of a nonce.
pub const NONCE: RangeInclusive<usize> = 32..=64;

/// What the bytes begin with, so that those of no other protocol are taken for them.
const DOMAIN: &[u8] = b"cradle-snp-v1\0";

/// The bytes whose SHA-512 is REPORT_DATA: the domain, the nonce's length in one byte, the nonce, SHA-256 of the TLS key's
/// SubjectPublicKeyInfo (DER) and SHA-256 of launch.json, which is HOST_DATA as well. `None` for a nonce of another
/// length than [`NONCE`].
#[must_use]
pub fn report_data_message(
    nonce: &[u8],
    spki_sha256: &[u8; 32],
    launch_sha256: &[u8; 32],
) -> Option<Vec<u8>> {
    let length = u8::try_from(nonce.len()).ok().filter(|_| NONCE.contains(&nonce.len()))?;
    Some([DOMAIN, &[length], nonce, spki_sha256, launch_sha256].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_keeps_the_parts_apart() {
        let message = report_data_message(&[1; 33], &[2; 32], &[3; 32]).unwrap();
        let parts = [b"cradle-snp-v1\0\x21".to_vec(), vec![1; 33], vec![2; 32], vec![3; 32]];
        assert_eq!(message, parts.concat());
        assert!(report_data_message(&[1; 31], &[2; 32], &[3; 32]).is_none());
        assert!(report_data_message(&[1; 65], &[2; 32], &[3; 32]).is_none());
    }
}

//! REPORT_DATA of a cradle guest: what ties a report to a question, to a connection and to a configuration.

use sha2::{Digest as _, Sha256, Sha512};

/// What the hash begins with, so that no other protocol's bytes are taken for it.
const DOMAIN: &[u8] = b"cradle-snp-v1\0";
/// The fewest and the most bytes of a nonce.
pub const NONCE: std::ops::RangeInclusive<usize> = 32..=64;

/// REPORT_DATA of the answer to `nonce`: SHA-512 of the domain, the nonce's length in one byte, the nonce, SHA-256 of the
/// TLS key's SubjectPublicKeyInfo and [`host_data`]. `None` for a nonce of another length than [`NONCE`].
#[must_use]
pub fn report_data(nonce: &[u8], spki: &[u8], host_data: &[u8; 32]) -> Option<[u8; 64]> {
    let length = u8::try_from(nonce.len()).ok().filter(|_| NONCE.contains(&nonce.len()))?;
    let hash = Sha512::new()
        .chain_update(DOMAIN)
        .chain_update([length])
        .chain_update(nonce)
        .chain_update(Sha256::digest(spki))
        .chain_update(host_data);
    Some(hash.finalize().into())
}

/// HOST_DATA of a pod: SHA-256 of its launch.json, byte by byte.
#[must_use]
pub fn host_data(config: &[u8]) -> [u8; 32] {
    Sha256::digest(config).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn every_part_counts() {
        let base = report_data(&[1; 32], b"key", &host_data(b"config")).unwrap();
        for other in [
            report_data(&[2; 32], b"key", &host_data(b"config")),
            report_data(&[1; 33], b"key", &host_data(b"config")),
            report_data(&[1; 32], b"other", &host_data(b"config")),
            report_data(&[1; 32], b"key", &host_data(b"other")),
        ] {
            assert_ne!(other.unwrap(), base);
        }
        assert!(
            report_data(&[1; 31], b"", &[0; 32]).is_none() && report_data(&[1; 65], b"", &[0; 32]).is_none()
        );
    }

    /// As `printf 'cradle-snp-v1\0\x20' …| sha512sum` has it.
    #[test]
    fn the_bytes_are_those_of_the_document() {
        let data = report_data(&[0x11; 32], b"key", &host_data(b"config")).unwrap();
        assert_eq!(hex::encode(&data[..16]), "20926f17a28a3280053109785c7abc96");
    }
}

//! REPORT_DATA of a cradle guest: what ties a report to a question, to a connection and to a configuration.

use sha2::{Digest as _, Sha256, Sha512};
use spec::attestation::report_data_message;

pub use spec::attestation::NONCE;

/// REPORT_DATA of the answer to `nonce`, see [`report_data_message`]. `None` for a nonce of another length than [`NONCE`].
#[must_use]
pub fn report_data(nonce: &[u8], spki: &[u8], host_data: &[u8; 32]) -> Option<[u8; 64]> {
    let message = report_data_message(nonce, &Sha256::digest(spki).into(), host_data)?;
    Some(Sha512::digest(message).into())
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

//! What certificates and lists of revoked ones have in common: bytes that are signed, an algorithm and a signature.

use der::asn1::{BitStringRef, GeneralizedTime, UtcTime};
use der::{Decode as _, Reader, SliceReader, Tag};
use ring::signature::{RSA_PSS_2048_8192_SHA384, UnparsedPublicKey};

use super::PublicKey;

/// RSASSA-PSS with SHA-384, MGF1 of the same and 48 bytes of salt (RFC 4055), as AMD writes it: since 2023 without the
/// trailer, which is the default, before with it.
const ALGORITHMS: [&[u8]; 2] = [
    b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
      \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
      \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
      \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
      \xa2\x03\x02\x01\x30",
    b"\x30\x46\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x39\
      \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
      \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
      \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
      \xa2\x03\x02\x01\x30\xa3\x03\x02\x01\x01",
];

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The issuer has another name.
    #[error("it is issued by {named:?}, not by {given:?}")]
    Issuer {
        /// The name that stands in it.
        named: String,
        /// The name of the certificate that was tried.
        given: String,
    },
    /// The issuer may not sign that.
    #[error("{0:?} is no authority for it")]
    NotAnAuthority(String),
    /// Authorities of AMD have RSA keys.
    #[error("the issuer's key is not RSA")]
    Key,
    /// Other bytes, or another key.
    #[error("the signature is wrong")]
    Wrong,
}

/// A signed document of X.509.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    der: Vec<u8>,
    bytes: Vec<u8>,
    algorithm: &'static [u8],
    signature: Vec<u8>,
}

impl Signed {
    /// Takes a document apart.
    pub(crate) fn parse(der: &[u8]) -> der::Result<Self> {
        let mut outer = SliceReader::new(der)?;
        let signed = outer.sequence(|reader| {
            let bytes = reader.tlv_bytes()?.to_vec();
            let algorithm = reader.tlv_bytes()?;
            let algorithm = ALGORITHMS
                .into_iter()
                .find(|known| *known == algorithm)
                .ok_or_else(|| Tag::ObjectIdentifier.value_error())?;
            let signature = BitStringRef::decode(reader)?;
            let signature = signature.as_bytes().ok_or_else(|| Tag::BitString.value_error())?.to_vec();
            Ok::<_, der::Error>(Self { der: der.to_vec(), bytes, algorithm, signature })
        })?;
        outer.finish()?;
        Ok(signed)
    }

    /// The algorithm stands in what is signed as well, and must be the same.
    pub(crate) fn assert_algorithm(&self, inner: &[u8]) -> der::Result<()> {
        if inner == self.algorithm { Ok(()) } else { Err(Tag::ObjectIdentifier.value_error().into()) }
    }

    pub(crate) fn verify(&self, key: &PublicKey) -> Result<(), SignatureError> {
        let PublicKey::Rsa(key) = key else { return Err(SignatureError::Key) };
        UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA384, key)
            .verify(&self.bytes, &self.signature)
            .map_err(|_| SignatureError::Wrong)
    }

    /// What is signed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }
}

/// A time of either form, in seconds since 1970.
pub(crate) fn time(reader: &mut SliceReader<'_>) -> der::Result<u64> {
    Ok(match Tag::peek(reader)? {
        Tag::UtcTime => UtcTime::decode(reader)?.to_unix_duration(),
        _ => GeneralizedTime::decode(reader)?.to_unix_duration(),
    }
    .as_secs())
}

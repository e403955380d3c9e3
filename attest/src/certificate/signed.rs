//! What certificates and lists of revoked ones have in common: bytes that are signed, an algorithm and a signature.

use der::asn1::{BitStringRef, GeneralizedTime, Null, UtcTime};
use der::oid::ObjectIdentifier;
use der::{Decode as _, Header, Reader, SliceReader, Tag, TagNumber};
use ring::signature::{RSA_PSS_2048_8192_SHA384, UnparsedPublicKey};

use super::PublicKey;

const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
/// The salt, in bytes.
const SALT: u8 = 48;
/// The trailer 0xbc, the only one there is (RFC 4055, section 3.1).
const TRAILER: u8 = 1;

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
    /// AMD signs with RSASSA-PSS, SHA-384 and 48 bytes of salt.
    #[error("it is signed with another algorithm than AMD's")]
    Algorithm,
    /// Other bytes, or another key.
    #[error("the signature is wrong")]
    Wrong,
}

/// A signed document of X.509.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    der: Vec<u8>,
    bytes: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    /// Takes a document apart.
    pub(crate) fn parse(der: &[u8]) -> der::Result<Self> {
        let mut outer = SliceReader::new(der)?;
        let signed = outer.sequence(|reader| {
            let bytes = reader.tlv_bytes()?.to_vec();
            let algorithm = reader.tlv_bytes()?.to_vec();
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
        assert_pss(&self.algorithm).map_err(|_| SignatureError::Algorithm)?;
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

/// Takes RSASSA-PSS with SHA-384, MGF1 of the same and 48 bytes of salt (RFC 4055), and nothing else. AMD writes the trailer
/// in some certificates and leaves it out in others.
fn assert_pss(algorithm: &[u8]) -> der::Result<()> {
    let mut reader = SliceReader::new(algorithm)?;
    reader.sequence(|reader| {
        assert_id(reader, RSASSA_PSS)?;
        reader.sequence(|reader| {
            explicit(reader, 0, assert_sha384)?;
            explicit(reader, 1, |reader| {
                reader.sequence(|reader| {
                    assert_id(reader, MGF1)?;
                    assert_sha384(reader)
                })
            })?;
            explicit(reader, 2, |reader| assert_number(reader, SALT))?;
            if reader.is_finished() {
                return Ok(());
            }
            explicit(reader, 3, |reader| assert_number(reader, TRAILER))
        })
    })
}

/// What stands under a tag of its context.
fn explicit<'a>(
    reader: &mut SliceReader<'a>,
    number: u32,
    inside: impl FnOnce(&mut SliceReader<'a>) -> der::Result<()>,
) -> der::Result<()> {
    let header = Header::decode(reader)?;
    header.tag().assert_eq(Tag::ContextSpecific { constructed: true, number: TagNumber(number) })?;
    reader.read_nested(header.length(), inside)
}

fn assert_sha384(reader: &mut SliceReader<'_>) -> der::Result<()> {
    reader.sequence(|reader| {
        assert_id(reader, SHA384)?;
        if reader.is_finished() { Ok(()) } else { Null::decode(reader).map(|_| ()) }
    })
}

fn assert_id(reader: &mut SliceReader<'_>, id: ObjectIdentifier) -> der::Result<()> {
    if ObjectIdentifier::decode(reader)? == id {
        Ok(())
    } else {
        Err(Tag::ObjectIdentifier.value_error().into())
    }
}

fn assert_number(reader: &mut SliceReader<'_>, number: u8) -> der::Result<()> {
    if u8::decode(reader)? == number { Ok(()) } else { Err(Tag::Integer.value_error().into()) }
}

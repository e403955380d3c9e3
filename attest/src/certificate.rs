//! X.509 certificates of AMD's key hierarchy: what is signed, by whom, and the fields that judgements are made of.
//!
//! AMD 57230 profiles RFC 5280 loosely: a VCEK's serial number is 0, and the parameters of RSASSA-PSS come with and
//! without their default trailer. So the bytes that are signed are kept as they came, and names are compared as bytes.

mod bundle;
pub(crate) mod signed;

use der::asn1::{AnyRef, BitStringRef, ContextSpecific, OctetStringRef, UintRef};
use der::oid::ObjectIdentifier;
use der::{Decode as _, Header, Reader, SliceReader, Tag, TagNumber, Tagged as _};

pub use bundle::{Bundle, BundleError};
pub use signed::SignatureError;

use signed::{Signed, time};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
/// keyCertSign and cRLSign (RFC 5280, section 4.2.1.3).
const KEY_CERT_SIGN: usize = 5;
const CRL_SIGN: usize = 6;
/// X.509 version 3; version 1 is not written, and has no extensions.
const VERSION_3: u8 = 2;

/// A key that a certificate is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// `RSAPublicKey` of RFC 8017.
    Rsa(Vec<u8>),
    /// An uncompressed point of P-384.
    P384(Vec<u8>),
    /// One that AMD does not use.
    Other,
}

/// An extension of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    pub(crate) id: ObjectIdentifier,
    pub(crate) critical: bool,
    pub(crate) value: Vec<u8>,
}

/// A certificate whose signature nobody has looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    signed: Signed,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    /// Seconds since 1970 between which it holds, both inclusive.
    validity: (u64, u64),
    key: PublicKey,
    extensions: Vec<Extension>,
}

impl Certificate {
    /// Reads a certificate's DER.
    ///
    /// # Errors
    /// What is no certificate of RFC 5280's form. Algorithms that AMD does not use are for [`Self::verify_issued_by`] to refuse.
    pub fn parse(der: &[u8]) -> der::Result<Self> {
        let signed = Signed::parse(der)?;
        let mut outer = SliceReader::new(signed.bytes())?;
        let certificate = outer.sequence(|reader| {
            let version = ContextSpecific::<u8>::decode_explicit(reader, TagNumber(0))?;
            if version.is_some_and(|version| version.value != VERSION_3) {
                return Err(Tag::Integer.value_error().into());
            }
            let serial = UintRef::decode(reader)?.as_bytes().to_vec();
            signed.assert_algorithm(reader.tlv_bytes()?)?;
            let issuer = name(reader)?;
            let validity = reader.sequence(|reader| Ok::<_, der::Error>((time(reader)?, time(reader)?)))?;
            let subject = name(reader)?;
            let key = reader.sequence(public_key)?;
            let extensions = extensions(reader, TagNumber(3))?;
            let signed = signed.clone();
            Ok::<_, der::Error>(Self { signed, serial, issuer, subject, validity, key, extensions })
        })?;
        outer.finish()?;
        Ok(certificate)
    }

    /// Whether the key of `issuer` has signed this, and the issuer has that name and may do so.
    ///
    /// # Errors
    /// What is wrong.
    pub fn verify_issued_by(&self, issuer: &Self) -> Result<(), SignatureError> {
        if self.issuer != issuer.subject {
            return Err(SignatureError::Issuer { named: self.issuer_name(), given: issuer.subject_name() });
        }
        if !issuer.may(KEY_CERT_SIGN) {
            return Err(SignatureError::NotAnAuthority(issuer.subject_name()));
        }
        self.signed.verify(&issuer.key)
    }

    pub(crate) fn may_sign_crls(&self) -> bool {
        self.may(CRL_SIGN)
    }

    /// Whether it is an authority that may use its key for that.
    fn may(&self, usage: usize) -> bool {
        let authority = self.extension(BASIC_CONSTRAINTS).is_some_and(|value| {
            SliceReader::new(value)
                .and_then(|mut reader| {
                    reader.sequence(|reader| {
                        let authority = bool::decode(reader)?;
                        reader.drain(reader.remaining_len())?;
                        Ok::<_, der::Error>(authority)
                    })
                })
                .unwrap_or(false)
        });
        let usable = self.extension(KEY_USAGE).is_some_and(|value| {
            BitStringRef::from_der(value).ok().and_then(|bits| bits.get(usage)).unwrap_or(false)
        });
        authority && usable
    }

    /// The value of an extension.
    #[must_use]
    pub fn extension(&self, id: ObjectIdentifier) -> Option<&[u8]> {
        self.extensions.iter().find(|extension| extension.id == id).map(|found| found.value.as_slice())
    }

    /// A critical extension that this program does not know, so that the certificate must not be used.
    #[must_use]
    pub fn unknown_critical(&self) -> Option<String> {
        let known = [BASIC_CONSTRAINTS, KEY_USAGE];
        let mut critical = self.extensions.iter().filter(|extension| extension.critical);
        critical.find(|extension| !known.contains(&extension.id)).map(|found| found.id.to_string())
    }

    /// The certificate's DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.signed.der()
    }

    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The serial number, big-endian without leading zeros.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// When it begins and ends to hold, in seconds since 1970.
    #[must_use]
    pub fn validity(&self) -> (u64, u64) {
        self.validity
    }

    pub(crate) fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// The subject's common name; empty where it has none.
    #[must_use]
    pub fn subject_name(&self) -> String {
        common_name(&self.subject).unwrap_or_default()
    }

    /// The issuer's common name; empty where it has none.
    #[must_use]
    pub fn issuer_name(&self) -> String {
        common_name(&self.issuer).unwrap_or_default()
    }
}

/// A name as it came.
pub(crate) fn name(reader: &mut SliceReader<'_>) -> der::Result<Vec<u8>> {
    Tag::peek(reader)?.assert_eq(Tag::Sequence)?;
    Ok(reader.tlv_bytes()?.to_vec())
}

/// The last common name of a name.
pub(crate) fn common_name(name: &[u8]) -> Option<String> {
    let mut reader = SliceReader::new(name).ok()?;
    let names = reader.sequence(|reader| {
        let mut found = None;
        while !reader.is_finished() {
            let header = Header::decode(reader)?;
            header.tag().assert_eq(Tag::Set)?;
            reader.read_nested(header.length(), |reader| {
                while !reader.is_finished() {
                    reader.sequence(|reader| {
                        let id = ObjectIdentifier::decode(reader)?;
                        let value = AnyRef::decode(reader)?;
                        if id == COMMON_NAME && matches!(value.tag(), Tag::Utf8String | Tag::PrintableString)
                        {
                            found = std::str::from_utf8(value.value()).ok().map(str::to_owned);
                        }
                        Ok::<_, der::Error>(())
                    })?;
                }
                Ok::<_, der::Error>(())
            })?;
        }
        Ok::<_, der::Error>(found)
    });
    names.ok().flatten()
}

/// The inside of a SubjectPublicKeyInfo.
fn public_key(reader: &mut SliceReader<'_>) -> der::Result<PublicKey> {
    let (algorithm, curve) = reader.sequence(|reader| {
        let algorithm = ObjectIdentifier::decode(reader)?;
        let parameters = if reader.is_finished() { None } else { Some(AnyRef::decode(reader)?) };
        let curve = parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
        Ok::<_, der::Error>((algorithm, curve))
    })?;
    let bits = BitStringRef::decode(reader)?.as_bytes().ok_or_else(|| Tag::BitString.value_error())?;
    Ok(match (algorithm, curve) {
        (RSA_ENCRYPTION, _) => PublicKey::Rsa(bits.to_vec()),
        (EC_PUBLIC_KEY, Some(SECP384R1)) => PublicKey::P384(bits.to_vec()),
        _ => PublicKey::Other,
    })
}

/// The extensions under a tag, if there are any; none may come twice.
pub(crate) fn extensions(reader: &mut SliceReader<'_>, tag: TagNumber) -> der::Result<Vec<Extension>> {
    if reader.is_finished() {
        return Ok(Vec::new());
    }
    let header = Header::decode(reader)?;
    header.tag().assert_eq(Tag::ContextSpecific { constructed: true, number: tag })?;
    reader.read_nested(header.length(), extension_list)
}

/// A SEQUENCE OF Extension.
pub(crate) fn extension_list(reader: &mut SliceReader<'_>) -> der::Result<Vec<Extension>> {
    reader.sequence(|reader| {
        let mut extensions: Vec<Extension> = Vec::new();
        while !reader.is_finished() {
            let extension = reader.sequence(|reader| {
                let id = ObjectIdentifier::decode(reader)?;
                let critical = match Tag::peek(reader)? {
                    Tag::Boolean => bool::decode(reader)?,
                    _ => false,
                };
                let value = <&OctetStringRef>::decode(reader)?.as_bytes().to_vec();
                Ok::<_, der::Error>(Extension { id, critical, value })
            })?;
            if extensions.iter().any(|known| known.id == extension.id) {
                return Err(Tag::ObjectIdentifier.value_error().into());
            }
            extensions.push(extension);
        }
        Ok(extensions)
    })
}

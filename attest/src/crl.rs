//! Lists of revoked certificates (RFC 5280, section 5), which AMD's roots sign for what they have issued.

use der::asn1::UintRef;
use der::{Decode as _, Reader, SliceReader, Tag, TagNumber};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;

use crate::certificate::signed::{Signed, time};
use crate::certificate::{Certificate, SignatureError, common_name, extension_list, extensions, name};

/// X.509 CRL version 2; version 1 is not written.
const VERSION_2: u8 = 1;

/// A list whose signature nobody has looked at.
#[derive(Clone, Debug)]
pub struct Crl {
    signed: Signed,
    issuer: Vec<u8>,
    /// Seconds since 1970 between which it is the newest.
    validity: (u64, u64),
    revoked: Vec<Vec<u8>>,
}

impl Crl {
    /// Reads a list, in PEM or DER.
    ///
    /// # Errors
    /// What is no list of version 1 or 2 with a date for the next one, or has critical extensions: none is known.
    pub fn parse(bytes: &[u8]) -> der::Result<Self> {
        if bytes.first() == Some(&0x30) {
            return Self::from_der(bytes);
        }
        let der =
            CertificateRevocationListDer::from_pem_slice(bytes).map_err(|_| Tag::Sequence.value_error())?;
        Self::from_der(&der)
    }

    fn from_der(der: &[u8]) -> der::Result<Self> {
        let signed = Signed::parse(der)?;
        let mut outer = SliceReader::new(signed.bytes())?;
        let crl = outer.sequence(|reader| {
            if Tag::peek(reader)? == Tag::Integer && u8::decode(reader)? != VERSION_2 {
                return Err(Tag::Integer.value_error().into());
            }
            signed.assert_algorithm(reader.tlv_bytes()?)?;
            let issuer = name(reader)?;
            let validity = (time(reader)?, time(reader)?);
            let listed = !reader.is_finished() && Tag::peek(reader)? == Tag::Sequence;
            let revoked = if listed { reader.sequence(revoked)? } else { Vec::new() };
            if extensions(reader, TagNumber(0))?.iter().any(|extension| extension.critical) {
                return Err(Tag::ObjectIdentifier.value_error().into());
            }
            Ok::<_, der::Error>(Self { signed: signed.clone(), issuer, validity, revoked })
        })?;
        outer.finish()?;
        Ok(crl)
    }

    /// Whether it names that certificate as its issuer.
    #[must_use]
    pub fn is_of(&self, issuer: &Certificate) -> bool {
        self.issuer == issuer.subject()
    }

    /// Whether the key of that certificate has signed this.
    ///
    /// # Errors
    /// What is wrong.
    pub fn verify_issued_by(&self, issuer: &Certificate) -> Result<(), SignatureError> {
        if !self.is_of(issuer) {
            return Err(SignatureError::Issuer { named: self.issuer_name(), given: issuer.subject_name() });
        }
        if !issuer.may_sign_crls() {
            return Err(SignatureError::NotAnAuthority(issuer.subject_name()));
        }
        self.signed.verify(issuer.key())
    }

    /// Whether a certificate of the list's issuer is revoked.
    #[must_use]
    pub fn revokes(&self, certificate: &Certificate) -> bool {
        self.revoked.iter().any(|serial| serial == certificate.serial())
    }

    /// When it was made and when there is to be a newer one, in seconds since 1970.
    #[must_use]
    pub fn validity(&self) -> (u64, u64) {
        self.validity
    }

    /// How many certificates it revokes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether it revokes none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    /// The issuer's common name.
    #[must_use]
    pub fn issuer_name(&self) -> String {
        common_name(&self.issuer).unwrap_or_default()
    }
}

/// The serial numbers of a list.
fn revoked(reader: &mut SliceReader<'_>) -> der::Result<Vec<Vec<u8>>> {
    let mut serials = Vec::new();
    while !reader.is_finished() {
        serials.push(reader.sequence(|reader| {
            let serial = UintRef::decode(reader)?.as_bytes().to_vec();
            let _when = time(reader)?;
            // Critical ones change what an entry is about.
            if !reader.is_finished() && extension_list(reader)?.iter().any(|extension| extension.critical) {
                return Err(Tag::ObjectIdentifier.value_error().into());
            }
            Ok::<_, der::Error>(serial)
        })?);
    }
    Ok(serials)
}

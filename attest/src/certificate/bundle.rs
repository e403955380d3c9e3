//! Certificates as they are handed on: PEM, one or many, DER, or the table that a host gives its guest beside a report
//! (AMD 56421, GHCB, "SNP Extended Guest Request").

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::Certificate;

/// The most certificates of one file.
const CERTIFICATES_MAX: usize = 64;
/// A table's entry: GUID, offset and length.
const ENTRY: usize = 24;
/// The GUIDs of certificates in a table: VCEK, VLEK, ASK or ASVK, ARK.
const GUIDS: [[u8; 16]; 4] = [
    *b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd",
    *b"\xa8\x07\x4b\xc2\xa2\x5a\x48\x3e\xaa\xe6\x39\xc0\x45\xa0\xb8\xa1",
    *b"\x4a\xb7\xb3\x79\xbb\xac\x4f\xe4\xa0\x2f\x05\xae\xf3\x27\xc7\x82",
    *b"\xc0\xb4\x06\xa4\xa8\x03\x49\x52\x97\x43\x3f\xb6\x01\x4c\xd0\xae",
];
/// And that of a list of revoked ones, which a host has no say in.
const GUID_CRL: [u8; 16] = *b"\x92\xf8\x1b\xc3\x58\x11\x4d\x3d\x97\xff\xd1\x9f\x88\xdc\x67\xea";

/// Why bytes hold no certificates.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// No form that is known.
    #[error("neither PEM nor DER nor a table of certificates")]
    Form,
    /// PEM that is broken, or without a certificate.
    #[error("no certificate in the PEM")]
    Pem,
    /// A table whose entries point outside of it.
    #[error("a table of certificates with an entry that is not within it")]
    Table,
    /// Nobody needs as many.
    #[error("more than {CERTIFICATES_MAX} certificates")]
    TooMany,
    /// What is inside is none.
    #[error("certificate {number} is none of AMD's form")]
    Certificate {
        /// Its place, from 1.
        number: usize,
        /// What the parser says.
        #[source]
        source: der::Error,
    },
}

/// The certificates of a file.
#[derive(Debug)]
pub struct Bundle;

impl Bundle {
    /// Reads a file's bytes in any of the forms.
    ///
    /// # Errors
    /// Other forms, and what is no certificate.
    pub fn parse(bytes: &[u8]) -> Result<Vec<Certificate>, BundleError> {
        let documents = if let Some(table) = table(bytes)? { table } else { documents(bytes)? };
        if documents.len() > CERTIFICATES_MAX {
            return Err(BundleError::TooMany);
        }
        let parse = |(index, der): (usize, Vec<u8>)| {
            Certificate::parse(&der).map_err(|source| BundleError::Certificate { number: index + 1, source })
        };
        documents.into_iter().enumerate().map(parse).collect()
    }
}

/// The certificates of PEM, or the one of DER.
fn documents(bytes: &[u8]) -> Result<Vec<Vec<u8>>, BundleError> {
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.to_vec()]);
    }
    if !bytes.windows(10).any(|window| window == b"-----BEGIN") {
        return Err(BundleError::Form);
    }
    let found: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(bytes)
        .take(CERTIFICATES_MAX + 1)
        .map(|der| der.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|_| BundleError::Pem)?;
    if found.is_empty() { Err(BundleError::Pem) } else { Ok(found) }
}

/// The certificates of a host's table; `None` where it is no such table.
fn table(bytes: &[u8]) -> Result<Option<Vec<Vec<u8>>>, BundleError> {
    let known = |guid: &[u8; 16]| GUIDS.contains(guid) || *guid == GUID_CRL;
    if !bytes.first_chunk().is_some_and(|first| known(&in_order(first))) {
        return Ok(None);
    }
    let mut found = Vec::new();
    for entry in bytes.chunks_exact(ENTRY).take_while(|entry| entry.iter().any(|byte| *byte != 0)) {
        let (Some(guid), Some(offset), Some(length)) =
            (entry.first_chunk(), number(entry, 16), number(entry, 20))
        else {
            return Err(BundleError::Table);
        };
        let document =
            offset.checked_add(length).and_then(|end| bytes.get(offset..end)).ok_or(BundleError::Table)?;
        if GUIDS.contains(&in_order(guid)) {
            found.extend(documents(document)?);
        }
        if found.len() > CERTIFICATES_MAX {
            return Err(BundleError::TooMany);
        }
    }
    Ok(Some(found))
}

/// A GUID in the order it is written in: hosts put the first three parts in either order.
fn in_order(guid: &[u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *guid;
    let mut swapped = [0; 16];
    swapped[..8].copy_from_slice(&[d, c, b, a, f, e, h, g]);
    swapped[8..].copy_from_slice(&rest);
    if GUIDS.contains(&swapped) || swapped == GUID_CRL { swapped } else { *guid }
}

fn number(entry: &[u8], place: usize) -> Option<usize> {
    let bytes = entry.get(place..place + 4)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

//! The forms in which certificates come: PEM, DER, several files' worth, the table of the host.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use attest::certificate::{Bundle, BundleError, Certificate};

const VCEK: [u8; 16] = *b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";
const ASK: [u8; 16] = *b"\x4a\xb7\xb3\x79\xbb\xac\x4f\xe4\xa0\x2f\x05\xae\xf3\x27\xc7\x82";
const CRL: [u8; 16] = *b"\x92\xf8\x1b\xc3\x58\x11\x4d\x3d\x97\xff\xd1\x9f\x88\xdc\x67\xea";
/// The VCEK's GUID as a machine of little-endian numbers writes it.
const VCEK_SWAPPED: [u8; 16] = *b"\x8d\x75\xda\x63\x64\xe6\x64\x45\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";

fn data(name: &str) -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/").to_owned() + name).unwrap()
}

fn ask() -> Vec<u8> {
    data("src/roots/genoa.ask.pem")
}

fn vcek() -> Vec<u8> {
    data("tests/data/genoa-v5.vcek.der")
}

fn names(bytes: &[u8]) -> Vec<String> {
    Bundle::parse(bytes).unwrap().iter().map(Certificate::subject_name).collect()
}

/// A table of certificates as a guest gets it.
fn table(entries: &[([u8; 16], &[u8])]) -> Vec<u8> {
    let mut offset = (entries.len() + 1) * 24;
    let mut table = Vec::new();
    for (guid, document) in entries {
        table.extend(guid);
        table.extend(u32::try_from(offset).unwrap().to_le_bytes());
        table.extend(u32::try_from(document.len()).unwrap().to_le_bytes());
        offset += document.len();
    }
    table.extend([0; 24]);
    table.extend(entries.iter().flat_map(|(_, document)| document.iter()));
    table
}

#[test]
fn pem_and_der() {
    assert_eq!(names(&vcek()), ["SEV-VCEK"]);
    assert_eq!(names(&ask()), ["SEV-Genoa"]);
    let noted =
        [b"Subject: something\n".to_vec(), ask(), b"\n# and\n".to_vec(), data("src/roots/genoa.ark.pem")];
    assert_eq!(names(&noted.concat()), ["SEV-Genoa", "ARK-Genoa"]);
    let windows = String::from_utf8(ask()).unwrap().replace('\n', "\r\n");
    assert_eq!(names(windows.as_bytes()), ["SEV-Genoa"]);
}

#[test]
fn the_hosts_table() {
    let (ask, vcek) = (ask(), vcek());
    assert_eq!(names(&table(&[(VCEK, &vcek), (ASK, &ask)])), ["SEV-VCEK", "SEV-Genoa"]);
    assert_eq!(names(&table(&[(VCEK_SWAPPED, &vcek)])), ["SEV-VCEK"]);
    assert_eq!(names(&table(&[(CRL, b"whatever"), (VCEK, &vcek)])), ["SEV-VCEK"]);
    // Hosts give whole pages.
    let mut padded = table(&[(VCEK, &vcek), ([7; 16], b"a certificate of the host's own")]);
    padded.resize(16384, 0);
    assert_eq!(names(&padded), ["SEV-VCEK"]);
    for (place, value) in [(16, u32::MAX), (20, u32::MAX), (16, 1 << 20), (20, 1 << 20)] {
        let mut broken = table(&[(VCEK, &vcek)]);
        broken[place..place + 4].copy_from_slice(&u32::to_le_bytes(value));
        assert!(matches!(Bundle::parse(&broken), Err(BundleError::Table)), "{place}: {value:#x}");
    }
}

#[test]
fn what_is_none_is_refused() {
    for (bytes, why) in [
        (&b""[..], "neither"),
        (b"hello", "neither"),
        (b"-----BEGIN CERTIFICATE-----\n", "no certificate in the PEM"),
        (b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "no certificate in the PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no certificate in the PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 is none"),
        (b"\x30\x03\x02\x01\x00", "certificate 1 is none"),
    ] {
        let error = Bundle::parse(bytes).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let many = ask().repeat(65);
    assert!(matches!(Bundle::parse(&many), Err(BundleError::TooMany)));
    let vcek = vcek();
    let table = table(&vec![(VCEK, vcek.as_slice()); 65]);
    assert!(matches!(Bundle::parse(&table), Err(BundleError::TooMany)));
}

#[test]
fn a_certificate_ends_where_it_ends() {
    let vcek = vcek();
    for length in 0..vcek.len() {
        assert!(Certificate::parse(&vcek[..length]).is_err(), "{length} bytes");
    }
    assert!(Certificate::parse(&[vcek.as_slice(), &[0]].concat()).is_err());
}

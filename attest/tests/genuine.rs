//! Genuine reports: each is judged as it should be, and no changed byte of one is believed.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use attest::certificate::{Bundle, Certificate};
use attest::check::{Class, Outcome, Status, Verdict};
use attest::policy::Policy;
use attest::product::Product;
use attest::report::LENGTH;
use attest::roots::Roots;
use attest::time;
use attest::verify::{Evidence, Expected, verify};

/// Name, form of the certificate, product, version.
const VECTORS: [(&str, &str, Product, u32); 3] = [
    ("milan-ms", "pem", Product::Milan, 3),
    ("genoa-ms", "pem", Product::Genoa, 3),
    ("genoa-v5", "der", Product::Genoa, 5),
];

fn data(name: &str) -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/").to_owned() + name).unwrap()
}

fn vector((name, form, ..): (&str, &str, Product, u32)) -> (Vec<u8>, Vec<Certificate>) {
    let certificates = Bundle::parse(&data(&format!("{name}.vcek.{form}"))).unwrap();
    (data(&format!("{name}.report.bin")), certificates)
}

fn judge(report: &[u8], certificates: &[Certificate], at: &str) -> Outcome {
    let now = time::parse(at).unwrap();
    let evidence = Evidence { report, certificates, crls: &[], now };
    verify(evidence, &Expected::default(), &Policy::default(), &Roots::amd())
}

const NOW: &str = "2026-11-22T00:00:00Z";

#[test]
fn all_that_can_be_asked_of_them_holds() {
    for known in VECTORS {
        let (report, certificates) = vector(known);
        let outcome = judge(&report, &certificates, NOW);
        assert_eq!(outcome.failure(), None, "{:#?}", outcome.checks);
        assert_eq!((outcome.verdict(false), outcome.verdict(true)), (Verdict::Incomplete, Verdict::Verified));
        assert_eq!(outcome.product, Some(known.2));
        let row = outcome.checks.iter().find(|check| check.name == "report").unwrap();
        assert!(row.actual.ends_with(&format!("version {}", known.3)), "{row:?}");
        let crl = outcome.checks.iter().find(|check| check.name == "crl").unwrap();
        assert_eq!((crl.status, crl.actual.as_str()), (Status::NotChecked, "CRL not checked: none is given"));
    }
}

#[test]
fn no_changed_byte_is_believed() {
    for known in VECTORS {
        let (report, certificates) = vector(known);
        for place in 0..LENGTH {
            let mut changed = report.clone();
            changed[place] ^= 1 << (place % 8);
            let failure = judge(&changed, &certificates, NOW).failure();
            let refused = matches!(failure, Some(Class::Signature | Class::Malformed));
            assert!(refused, "{}: byte {place:#x}: {failure:?}", known.0);
        }
    }
}

#[test]
fn a_report_has_one_length() {
    let (report, certificates) = vector(VECTORS[0]);
    for length in [0, 1, 0x2a0, LENGTH - 1, LENGTH + 1, 2 * LENGTH] {
        let mut changed = report.clone();
        changed.resize(length, 0);
        assert_eq!(judge(&changed, &certificates, NOW).failure(), Some(Class::Malformed), "{length}");
    }
}

#[test]
fn unknown_versions_are_refused() {
    let (report, certificates) = vector(VECTORS[0]);
    for version in [0, 1, 4, 6, 0x0300_0000, u32::MAX] {
        let mut changed = report.clone();
        changed[..4].copy_from_slice(&version.to_le_bytes());
        assert_eq!(judge(&changed, &certificates, NOW).failure(), Some(Class::Malformed), "{version}");
    }
}

#[test]
fn no_changed_byte_of_a_certificate_is_believed() {
    let (report, certificates) = vector(VECTORS[0]);
    let der = certificates[0].der();
    for place in 0..der.len() {
        let mut changed = der.to_vec();
        changed[place] ^= 1 << (place % 8);
        let Ok(changed) = Certificate::parse(&changed) else { continue };
        assert!(judge(&report, &[changed], NOW).failure().is_some(), "byte {place:#x}");
    }
}

#[test]
fn certificates_hold_for_their_time() {
    let (report, certificates) = vector(VECTORS[0]);
    for (at, failure) in [
        ("2026-02-05T01:04:32Z", Some(Class::Validity)),
        ("2026-02-05T01:04:33Z", None),
        ("2033-02-05T01:04:33Z", None),
        ("2033-02-05T01:04:34Z", Some(Class::Validity)),
    ] {
        assert_eq!(judge(&report, &certificates, at).failure(), failure, "{at}");
    }
}

fn chip(report: &[u8]) -> String {
    attest::hex::encode(&report[0x1a0..0x1e0])
}

#[test]
fn another_processors_certificate_says_nothing() {
    for known in VECTORS {
        let (report, _) = vector(known);
        for other in VECTORS.into_iter().filter(|other| other.0 != known.0) {
            let (_, certificates) = vector(other);
            let outcome = judge(&report, &certificates, NOW);
            assert_eq!(outcome.failure(), Some(Class::Signature), "{} by {}", known.0, other.0);
            let failed = |name: &str| {
                outcome.checks.iter().any(|check| check.name == name && check.status == Status::Failed)
            };
            assert!(failed("chip_id"));
            assert_eq!(failed("product"), known.2 != other.2);
            let address = outcome.hint.unwrap();
            assert!(address.contains(&format!("/{}/{}?", known.2, chip(&report))), "{address}");
        }
    }
}

#[test]
fn without_its_certificate_a_report_is_refused_and_the_place_of_it_told() {
    let (report, _) = vector(VECTORS[0]);
    let outcome = judge(&report, &[], NOW);
    assert_eq!(outcome.failure(), Some(Class::Chain));
    let hint = outcome.hint.unwrap();
    let chip = "4ffb5cb4fd594f3fee6528fc3fb10370bb38abe89dcd5ba2cf0ab6a11df2ca28\
                2add516bef45a890a8c9f9732bdca68f9f3f16c42e846030a800295dbeb19ba5";
    let place = format!("/vcek/v1/Milan/{chip}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219");
    assert!(hint.ends_with(&place), "{hint}");
}

#[test]
fn certificates_come_in_any_order_and_company() {
    let mut all: Vec<Certificate> = VECTORS.into_iter().flat_map(|known| vector(known).1).collect();
    for known in VECTORS {
        all.rotate_left(1);
        let (report, _) = vector(known);
        assert_eq!(judge(&report, &all, NOW).failure(), None, "{}", known.0);
    }
}

#[test]
fn the_roots_are_among_the_certificates_for_no_use() {
    let (report, mut certificates) = vector(VECTORS[0]);
    let root = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/src/roots/genoa.ark.pem")).unwrap();
    certificates.extend(Bundle::parse(&root).unwrap());
    assert_eq!(judge(&report, &certificates, NOW).failure(), None);
}

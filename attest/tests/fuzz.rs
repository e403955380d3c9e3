//! Damaged reports, certificates and policies: what parses bytes of hosts and strangers neither panics nor believes.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use attest::certificate::{Bundle, BundleError, Certificate};
use attest::check::Class;
use attest::policy::Policy;
use attest::report::Report;
use attest::roots::Roots;
use attest::verify::{Evidence, Expected, verify};
use fuzz::{Fuzz, shape};

fn data(name: &str) -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/").to_owned() + name).unwrap()
}

const NOW: u64 = 1_795_305_600;

/// No roots: signatures of certificates take long, and are not what is tried here.
fn judge(report: &[u8], certificates: &[Certificate], policy: &Policy) -> attest::check::Outcome {
    let evidence = Evidence { report, certificates, crls: &[], now: NOW };
    verify(evidence, &Expected::default(), policy, &Roots::none())
}

#[test]
fn report() {
    let seeds =
        ["milan-ms", "genoa-ms", "genoa-v5"].map(|name| data(&format!("tests/data/{name}.report.bin")));
    let genuine = seeds.clone();
    let certificates = Bundle::parse(&data("tests/data/milan-ms.vcek.pem")).unwrap();
    Fuzz::new("attest-report", seeds).iterations(2_000).run(|input| {
        let parsed = Report::parse(input).is_ok();
        let outcome = judge(input, &certificates, &Policy::default());
        let failed = outcome.failure();
        assert!(failed.is_some(), "there are no roots");
        assert_eq!(failed == Some(Class::Malformed), !parsed);
        let signed = outcome.checks.iter().any(|check| check.name == "signature" && check.actual == "it is");
        assert!(!signed || input == genuine[0], "a changed report with a right signature");
        let rows: Vec<_> = outcome.checks.iter().map(|check| (check.name, check.status as u8)).collect();
        shape(rows)
    });
}

#[test]
fn certificates() {
    let seeds = [
        data("tests/data/milan-ms.vcek.pem"),
        data("tests/data/genoa-v5.vcek.der"),
        data("src/roots/turin.ark.pem"),
        table(&data("tests/data/genoa-v5.vcek.der")),
    ];
    let report = data("tests/data/genoa-v5.report.bin");
    Fuzz::new("attest-certificates", seeds)
        .words(["-----BEGIN CERTIFICATE-----", "\n"])
        .iterations(10_000)
        .run(|input| match Bundle::parse(input) {
            Ok(certificates) => {
                assert!(!certificates.is_empty() || !input.starts_with(b"-"), "PEM without a certificate");
                for certificate in &certificates {
                    assert_eq!(Certificate::parse(certificate.der()).as_ref(), Ok(certificate));
                }
                let outcome = judge(&report, &certificates, &Policy::default());
                assert!(outcome.failure().is_some(), "there are no roots");
                let names: Vec<_> = certificates.iter().map(Certificate::subject_name).collect();
                shape((names, outcome.checks.len()))
            }
            Err(BundleError::Certificate { source, .. }) => shape(source.to_string()),
            Err(error) => shape(error.to_string()),
        });
}

/// A host's table with one certificate.
fn table(der: &[u8]) -> Vec<u8> {
    let mut table = b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd\x30\0\0\0".to_vec();
    table.extend(u32::try_from(der.len()).unwrap().to_le_bytes());
    table.extend([0; 24]);
    table.extend(der);
    table
}

#[test]
fn policy() {
    let seeds = [
        r#"{"version": 1, "products": ["milan"], "minimum_tcb": {"turin": {"fmc": 1, "bootloader": 1, "tee": 0, "snp": 4, "microcode": 81}}}"#,
        r#"{"version": 1, "allow_debug": false, "allow_migration": false, "allow_smt": true, "max_vmpl": 1}"#,
        r#"{"version": 1, "allow_vlek": true, "csp_ids": ["CN=x"], "require_crl": true, "allow_masked_chip_id": true}"#,
    ];
    let words =
        ["\"chip_ids\"", "\"id_key_digests\"", "\"author_key_digests\"", "[]", "null", "true", "\"milan\""];
    let report = data("tests/data/genoa-v5.report.bin");
    Fuzz::new("attest-policy", seeds).words(words).iterations(10_000).run(|input| {
        match Policy::parse(input) {
            Ok(policy) => {
                assert!(serde_json::from_slice::<serde_json::Value>(input).unwrap()["version"] == 1);
                let outcome = judge(&report, &[], &policy);
                assert!(outcome.failure().is_some(), "there are no roots");
                shape(outcome.checks.iter().map(|check| (check.name, check.status as u8)).collect::<Vec<_>>())
            }
            Err(error) => shape(error.to_string()),
        }
    });
}

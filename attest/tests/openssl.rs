//! The openssl command as a second opinion: on the pinned certificates, on the chains and signatures of genuine reports, and
//! on changed ones.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use attest::report::Report;

const VECTORS: [(&str, &str, &str); 3] =
    [("milan-ms", "pem", "milan"), ("genoa-ms", "pem", "genoa"), ("genoa-v5", "der", "genoa")];

fn openssl(arguments: &[&str]) -> Output {
    Command::new("openssl")
        .args(arguments)
        .output()
        .expect("the tests need the openssl command (Debian: openssl); tests/install installs it")
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A vector's certificate as PEM.
fn certificate(dir: &Path, (name, form, _): (&str, &str, &str)) -> PathBuf {
    let given = source(&format!("tests/data/{name}.vcek.{form}"));
    let pem = dir.join(format!("{name}.pem"));
    assert!(openssl(&["x509", "-inform", form, "-in", text(&given), "-out", text(&pem)]).status.success());
    pem
}

#[test]
fn it_agrees_on_the_chains() {
    let dir = tempfile::tempdir().unwrap();
    for vector in VECTORS {
        let key = certificate(dir.path(), vector);
        for product in ["milan", "genoa", "turin"] {
            let [root, intermediate] =
                ["ark", "ask"].map(|kind| source(&format!("src/roots/{product}.{kind}.pem")));
            let said = openssl(&[
                "verify",
                "-no_check_time",
                "-CAfile",
                text(&root),
                "-untrusted",
                text(&intermediate),
                text(&key),
            ]);
            assert_eq!(said.status.success(), product == vector.2, "{} under {product}: {said:?}", vector.0);
        }
    }
}

#[test]
fn it_agrees_on_the_signatures() {
    let dir = tempfile::tempdir().unwrap();
    let [key, signed, signature] = ["key", "signed", "signature"].map(|name| dir.path().join(name));
    for vector in VECTORS {
        let certificate = certificate(dir.path(), vector);
        let public = openssl(&["x509", "-in", text(&certificate), "-pubkey", "-noout"]);
        fs::write(&key, public.stdout).unwrap();
        let bytes = fs::read(source(&format!("tests/data/{}.report.bin", vector.0))).unwrap();
        let report = Report::parse(&bytes).unwrap();
        fs::write(&signature, ecdsa_der(&report.signature())).unwrap();
        let holds = |bytes: &[u8]| {
            fs::write(&signed, bytes).unwrap();
            let said = openssl(&[
                "dgst",
                "-sha384",
                "-verify",
                text(&key),
                "-signature",
                text(&signature),
                text(&signed),
            ]);
            assert!(matches!(said.status.code(), Some(0 | 1)), "{said:?}");
            said.status.success()
        };
        assert!(holds(report.signed()), "{}", vector.0);
        for place in [0, 0x0a, 0x50, 0x90, 0xc0, 0x180, 0x1a0, 0x29f] {
            let mut changed = report.signed().to_vec();
            changed[place] ^= 1;
            assert!(!holds(&changed), "{}: byte {place:#x}", vector.0);
        }
    }
}

/// R and S as the openssl command takes them: a SEQUENCE of two INTEGERs.
fn ecdsa_der(signature: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for number in signature.chunks_exact(48) {
        let digits: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
        let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
        content.extend([0x02, u8::try_from(sign.len() + digits.len()).unwrap()]);
        content.extend(sign.iter().chain(&digits));
    }
    [&[0x30, u8::try_from(content.len()).unwrap()], content.as_slice()].concat()
}

/// What docs/snp.md tells to type works as it stands there.
#[test]
fn the_documents_commands_work() {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("tests/data/milan-ms.report.bin", "report.bin"),
        ("tests/data/milan-ms.vcek.pem", "vcek.pem"),
        ("src/roots/milan.ark.pem", "ark.pem"),
        ("src/roots/milan.ask.pem", "ask.pem"),
    ] {
        fs::copy(source(from), dir.path().join(to)).unwrap();
    }
    let document = fs::read_to_string(source("../docs/snp.md")).unwrap();
    let section =
        document.split("\n## By hand, with openssl\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let commands: String =
        section.lines().filter_map(|line| line.strip_prefix("    ")).flat_map(|line| [line, "\n"]).collect();
    let script = format!("set -euo pipefail\n{commands}");
    let said = Command::new("bash").args(["-c", &script]).current_dir(&dir).output().unwrap();
    let lines = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{lines}\n{}", String::from_utf8_lossy(&said.stderr));
    let lines: Vec<&str> = lines.lines().collect();
    let report = Report::parse(&fs::read(dir.path().join("report.bin")).unwrap()).unwrap();
    let hex = attest::hex::encode;
    assert_eq!(lines[..2], ["vcek.pem: OK", "Verified OK"]);
    assert_eq!(lines[2], hex(&report.measurement()));
    assert_eq!(lines[3], hex(&report.host_data()));
    assert_eq!(lines[4], hex(&report.report_data()));
    assert_eq!((lines[5], lines[6]), ("1f00030000000000", "00000000"));
    assert_eq!(lines[7], hex(&report.reported_tcb()));
    assert_eq!(lines[8], hex(&report.chip_id()));
    assert!(lines[9..].iter().any(|line| line.contains(&hex(&report.chip_id()).to_uppercase())));
}

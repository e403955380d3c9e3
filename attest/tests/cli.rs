//! `cradle-attest verify` as a program: what it prints, and its exit codes, on genuine reports.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The command on Milan's report; more arguments may name another one.
    fn verify(arguments: &[&str]) -> Output {
        let (report, certificate) = (data("milan-ms.report.bin"), data("milan-ms.vcek.pem"));
        let mut all = vec!["--at", "2026-11-22T00:00:00Z"];
        if !arguments.contains(&"--report") {
            all.extend(["--report", report.to_str().unwrap()]);
        }
        if !arguments.contains(&"--certs") {
            all.extend(["--certs", certificate.to_str().unwrap()]);
        }
        Self::run(&[&["verify"], all.as_slice(), arguments].concat())
    }

    fn run(arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_cradle-attest")).args(arguments).output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const MEASUREMENT: &str =
    "5feee30d6d7e1a29f403d70a4198237ddfb13051a2d6976439487c609388ed7f98189887920ab2fa0096903a0c23fca1";
const HOST_DATA: &str = "4f4448c67f3c8dfc8de8a5e37125d807dadcc41f06cf23f615dbd52eec777d10";

fn report_data() -> String {
    "00".repeat(64)
}

#[test]
fn every_class_of_failure_has_its_exit_code() {
    let bench = Bench::new();
    let report = fs::read(data("milan-ms.report.bin")).unwrap();
    let flipped = {
        let mut report = report.clone();
        report[0x90] ^= 1;
        bench.file("flipped", report)
    };
    let short = bench.file("short", &report[..1183]);
    let garbage = bench.file("garbage", b"garbage");
    let old = bench.file(
        "old.json",
        r#"{"version": 1, "minimum_tcb": {"milan": {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 220}}}"#,
    );
    let threads = bench.file("threads.json", r#"{"version": 1, "allow_smt": false}"#);
    let wrong = bench.file("wrong.json", r#"{"version": 1, "allow_smp": false}"#);
    let genoa = data("genoa-ms.report.bin");
    let ask = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/roots/milan.ask.pem");
    let (right, zeros) = (MEASUREMENT, "00".repeat(48));
    let (data, ones) = (report_data(), "11".repeat(64));
    let cases: &[(u8, &[&str])] = &[
        (0, &["--measurement", right, "--report-data", &data]),
        (0, &["--measurement", right, "--report-data", &data, "--host-data", HOST_DATA]),
        (0, &["--unbound"]),
        (1, &["--unbound", "--report", "/nonexistent"]),
        (1, &["--unbound", "--certs", "/nonexistent"]),
        (2, &["--unbound", "--measurement", "5f"]),
        (2, &["--unbound", "--nonce", right]),
        (2, &["--unbound", "--nonce", right, "--spki", &garbage]),
        (2, &["--unbound", "--at", "yesterday"]),
        (3, &[]),
        (3, &["--measurement", right]),
        (3, &["--report-data", &data]),
        (10, &["--unbound", "--report", &short]),
        (10, &["--unbound", "--certs", &garbage]),
        (10, &["--unbound", "--crl", &garbage]),
        (10, &["--unbound", "--policy", &wrong]),
        (11, &["--unbound", "--report", &flipped]),
        (11, &["--unbound", "--report", genoa.to_str().unwrap()]),
        (12, &["--unbound", "--certs", ask.to_str().unwrap()]),
        (14, &["--unbound", "--policy", &old]),
        (15, &["--unbound", "--measurement", &zeros]),
        (16, &["--unbound", "--host-data", &zeros[..64]]),
        (16, &["--unbound", "--report-data", &ones]),
        (16, &["--unbound", "--config", &garbage]),
        (17, &["--unbound", "--policy", &threads]),
        (14, &["--policy", &old, "--measurement", &zeros, "--report-data", &ones]),
    ];
    for (code, arguments) in cases {
        let output = Bench::verify(arguments);
        let shown = (stdout(&output), stderr(&output));
        assert_eq!(output.status.code(), Some(i32::from(*code)), "{arguments:?}: {shown:?}");
        // Nothing is said to be verified that is not.
        assert_eq!(
            shown.0.lines().any(|line| line.starts_with("verified")),
            *code == 0,
            "{arguments:?}: {shown:?}"
        );
    }
    let milan = self::data("milan-ms.report.bin");
    let arguments =
        ["verify", "--unbound", "--at", "2040-01-01T00:00:00Z", "--report", milan.to_str().unwrap()];
    let certificate = self::data("milan-ms.vcek.pem");
    let output = Bench::run(&[&arguments[..], &["--certs", certificate.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(13));
}

#[test]
fn a_nonce_a_key_and_a_configuration_make_report_data() {
    let bench = Bench::new();
    let key = bench.file("key", b"\x30\x03key");
    let config = bench.file("launch.json", b"{}");
    let nonce = "ab".repeat(32);
    let output = Bench::verify(&["--nonce", &nonce, "--spki", &key, "--config", &config, "--json"]);
    assert_eq!(output.status.code(), Some(16));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = |name: &str| {
        let rows = found["checks"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap().clone()
    };
    let host_data = attest::binding::host_data(b"{}");
    let data = attest::binding::report_data(&[0xab; 32], b"\x30\x03key", &host_data).unwrap();
    assert_eq!(row("report_data")["expected"], attest::hex::encode(&data));
    assert_eq!(row("host_data")["expected"], attest::hex::encode(&host_data));
}

/// What others make with the openssl command, in its own algorithms and versions, is a chain that leads nowhere.
#[test]
fn a_hierarchy_of_openssls_is_refused() {
    let bench = Bench::new();
    let make = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(bench.dir.path());
        let output = command.output().expect("the tests need the openssl command; tests/install installs it");
        assert!(output.status.success(), "{arguments}: {}", stderr(&output));
    };
    let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1 -sha384";
    for (name, signing) in [("pss", pss), ("pkcs1", "-sha256")] {
        make(&format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout ark.key -out ark.pem -subj /CN=ARK-Milan -days 9 {signing}"
        ));
        make("req -new -newkey rsa:2048 -nodes -keyout ask.key -out ask.csr -subj /CN=SEV-Milan");
        make(&format!(
            "x509 -req -in ask.csr -CA ark.pem -CAkey ark.key -CAcreateserial -out ask.pem -days 9 {signing}"
        ));
        make(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout vcek.key -out vcek.csr -subj /CN=SEV-VCEK",
        );
        make(&format!(
            "x509 -req -in vcek.csr -CA ask.pem -CAkey ask.key -CAcreateserial -out vcek.pem -days 9 {signing}"
        ));
        let files = ["vcek.pem", "ask.pem", "ark.pem"].map(|file| bench.dir.path().join(file));
        let mut all = vec!["--unbound", "--certs"];
        all.extend(files.iter().map(|file| file.to_str().unwrap()));
        let output = Bench::verify(&all);
        let shown = stdout(&output);
        assert!(matches!(output.status.code(), Some(11 | 12)), "{name}: {shown}{}", stderr(&output));
        let chain = shown.lines().find(|line| line.contains("  chain  ")).unwrap();
        assert!(chain.starts_with("FAILED"), "{name}: {shown}");
    }
}

/// What `attest measure --json` wrote of a pod.
fn measured(digest: &str, host_data: &str) -> String {
    let file = serde_json::json!({"size": 1, "sha256": "00"});
    serde_json::json!({
        "version": 1,
        "digest": digest,
        "stable_digest": "00",
        "host_data": host_data,
        "inputs": {"kernel": file, "initramfs": file, "launch": file, "stub": file,
            "command_line": "", "memory_mib": 64, "vcpus": 1},
        "runs": [{"name": "stub", "kind": "normal", "gpa": 0, "pages": 1, "sha256": null,
            "digest": digest, "depends_on": "-"}],
    })
    .to_string()
}

#[test]
fn a_pod_says_what_the_report_must_hold() {
    let bench = Bench::new();
    let (right, zeros, data) = (MEASUREMENT, "00".repeat(48), report_data());
    for (digest, host_data, code, hint) in [
        (right, HOST_DATA, 0, ""),
        (&zeros, HOST_DATA, 15, "so the runtime package is another"),
        (&zeros, &zeros[..64], 15, "another launch.json was launched"),
        (right, &zeros[..64], 16, ""),
        ("00", HOST_DATA, 10, "`attest measure --json` writes such files"),
    ] {
        let pod = bench.file("pod.json", measured(digest, host_data));
        let output = Bench::verify(&["--pod", &pod, "--report-data", &data]);
        assert_eq!(output.status.code(), Some(code), "{}{}", stdout(&output), stderr(&output));
        assert!((stdout(&output) + &stderr(&output)).contains(hint), "{}", stdout(&output));
    }
}

#[test]
fn the_json_is_stable() {
    let output = Bench::verify(&["--measurement", MEASUREMENT, "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let fields: Vec<_> = found.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        ["checks", "exit_code", "failure", "hint", "not_checked", "product", "verdict", "version"]
    );
    assert_eq!((&found["version"], &found["exit_code"]), (&Value::from(1), &Value::from(3)));
    assert_eq!((&found["verdict"], &found["failure"]), (&Value::from("incomplete"), &Value::Null));
    assert_eq!(found["not_checked"], serde_json::json!(["report_data"]));
    let names: Vec<_> =
        found["checks"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "report",
            "signing_key",
            "chain",
            "validity",
            "crl",
            "signature",
            "product",
            "key_tcb",
            "chip_id",
            "tcb_order",
            "minimum_tcb",
            "launch_tcb",
            "measurement",
            "host_data",
            "report_data",
            "debug",
            "migration",
            "smt",
            "vmpl",
            "report_id_ma",
            "id_key_digest",
            "author_key_digest",
        ]
    );
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/snp.md")).unwrap();
    let table = document.split("\n## Judging a report\n").nth(1).unwrap();
    for name in names {
        let known = table.lines().any(|line| line.starts_with("| `") && line.contains(&format!("`{name}`")));
        assert!(known, "{name} is not in docs/snp.md");
    }
    let row = &found["checks"][12];
    assert_eq!(
        *row,
        serde_json::json!({"name": "measurement", "class": "measurement", "status": "ok",
            "expected": MEASUREMENT, "actual": MEASUREMENT})
    );
    assert_eq!(found["checks"][4]["status"], "not-checked");
}

#[test]
fn what_does_not_fit_the_table_is_whole_below_it() {
    let output = Bench::verify(&["--unbound", "--measurement", &"00".repeat(48)]);
    let shown = stdout(&output);
    let whole = format!("measurement\n  expected {}\n  actual   {}\n", "00".repeat(48), MEASUREMENT);
    assert!(shown.contains(&whole), "{shown}");
    assert!(shown.contains("\nNOT VERIFIED: measurement\n"), "{shown}");
    assert!(
        shown
            .lines()
            .all(|line| line.starts_with("  ") || line.chars().count() < 140 || line.starts_with("hint"))
    );
}

#[test]
fn what_stands_in_files_does_not_reach_the_terminal() {
    let bench = Bench::new();
    let policy = bench.file("evil.json", r#"{"version": 1, "a\u001b[2J": 1}"#);
    let output = Bench::verify(&["--unbound", "--policy", &policy]);
    assert_eq!(output.status.code(), Some(10));
    let told = stderr(&output);
    assert!(!told.contains('\u{1b}') && told.contains("unknown field"), "{told}");
    assert!(told.lines().any(|line| line.starts_with("hint: ")), "{told}");
}

//! What `attest verify` prints: a table for people, or JSON whose names and meanings stay.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::check::{Check, Class, Outcome, Status, Verdict};

use super::CommandError;

/// The version of the JSON.
const VERSION: u32 = 1;
/// The widest cell of the table, in characters; longer values are shortened there and whole below.
const WIDEST: usize = 46;
/// The exit code where the reader has gone: 128 and the number of SIGPIPE.
const READER_GONE: i32 = 141;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    verdict: Verdict,
    exit_code: u8,
    failure: Option<Class>,
    product: Option<&'static str>,
    not_checked: Vec<&'static str>,
    hint: Option<&'a str>,
    checks: &'a [Check],
}

/// Prints what was found as JSON.
pub(super) fn json(outcome: &Outcome, verdict: Verdict, code: u8) -> Result<(), CommandError> {
    let document = Document {
        version: VERSION,
        verdict,
        exit_code: code,
        failure: outcome.failure(),
        product: outcome.product.map(|product| product.name()),
        not_checked: outcome.unchecked().collect(),
        hint: outcome.hint.as_deref(),
        checks: &outcome.checks,
    };
    let text = serde_json::to_string_pretty(&document).map_err(CommandError::Json)?;
    print(&format!("{}\n", visible(&text, "\n")))
}

/// Prints what was found for people.
pub(super) fn table(outcome: &Outcome, verdict: Verdict) -> Result<(), CommandError> {
    let mut rows = vec![["", "CHECK", "EXPECTED", "ACTUAL"].map(str::to_owned)];
    for check in &outcome.checks {
        let mark = match check.status {
            Status::Ok => "ok",
            Status::Failed => "FAILED",
            Status::NotChecked => "-",
        };
        let expected = if check.status == Status::NotChecked { "not checked" } else { &check.expected };
        rows.push([mark.to_owned(), check.name.to_owned(), short(expected), short(&check.actual)]);
    }
    let mut text = aligned(&rows);
    for check in outcome.checks.iter().filter(|check| check.status == Status::Failed) {
        if check.expected.chars().count() > WIDEST || check.actual.chars().count() > WIDEST {
            let (expected, actual) = (visible(&check.expected, ""), visible(&check.actual, ""));
            text.push_str(&format!("\n{}\n  expected {expected}\n  actual   {actual}\n", check.name));
        }
    }
    text.push_str(&format!("\n{}\n", summary(outcome, verdict)));
    for hint in hints(outcome, verdict) {
        text.push_str(&format!("hint: {}\n", visible(&hint, "")));
    }
    print(&text)
}

/// The last line.
fn summary(outcome: &Outcome, verdict: Verdict) -> String {
    let missing = outcome.unchecked().collect::<Vec<_>>().join(" and ");
    match verdict {
        Verdict::Verified if missing.is_empty() => "verified".to_owned(),
        Verdict::Verified => format!("verified, but for {missing}, which nobody asked for"),
        Verdict::Incomplete => format!("INCOMPLETE: nothing failed, but not all was compared: {missing}"),
        Verdict::Failed => {
            let failed = outcome.checks.iter().filter(|check| check.status == Status::Failed);
            let names = failed.map(|check| check.name).collect::<Vec<_>>().join(", ");
            format!("NOT VERIFIED: {names}")
        }
    }
}

/// What the user can do.
fn hints(outcome: &Outcome, verdict: Verdict) -> Vec<String> {
    let mut hints: Vec<String> = outcome.hint.iter().cloned().collect();
    if verdict == Verdict::Incomplete {
        hints.push(
            "say what the guest must be with --measurement or --pod, and that the report is new with --nonce and --spki, \
             or --report-data; or say with --unbound that any guest will do"
                .to_owned(),
        );
    }
    let failed = outcome.checks.iter().filter(|check| check.status == Status::Failed);
    hints.extend(failed.filter_map(advice).map(str::to_owned));
    hints.extend(of_measurement(outcome).map(str::to_owned));
    hints
}

/// Of a measurement that differs, in what: HOST_DATA says whether it is launch.json.
fn of_measurement(outcome: &Outcome) -> Option<&'static str> {
    let status = |name| outcome.checks.iter().find(|check| check.name == name).map(|check| check.status);
    Some(match (status("measurement")?, status("host_data")?) {
        (Status::Failed, Status::Ok) => {
            "launch.json is the one that was launched, so the runtime package is another: kernel, initramfs, stub or \
             command line; `attest diff` compares two pods"
        }
        (Status::Failed, Status::Failed) => {
            "another launch.json was launched: other images, processes, memory or vCPUs; `attest diff` compares two pods"
        }
        (Status::Failed, Status::NotChecked) => {
            "`attest measure --explain DIR` says what a pod is made of, and `attest diff` compares two"
        }
        _ => return None,
    })
}

fn advice(check: &Check) -> Option<&'static str> {
    Some(match check.name {
        "signing_key" if check.class == Class::Policy => {
            "--vlek takes reports that a cloud provider's key has signed"
        }
        "chain" => {
            "give the certificate of the signing key, and for a VLEK that of its issuer, with --certs; the roots are built in"
        }
        "key_tcb" => {
            "this is no certificate of the reported TCB version: the host's firmware is another one now"
        }
        "chip_id" if check.class == Class::Policy => {
            "a chip that the host masks needs \"allow_masked_chip_id\" in the policy"
        }
        "chip_id" => "this is the certificate of another chip",
        "validity" => "--at judges as of another time",
        _ => return None,
    })
}

/// The beginning and the end of what is too wide.
fn short(cell: &str) -> String {
    let cell = visible(cell, "");
    let length = cell.chars().count();
    if length <= WIDEST {
        return cell;
    }
    let begin: String = cell.chars().take(WIDEST - 17).collect();
    let end: String = cell.chars().skip(length - 16).collect();
    format!("{begin}…{end}")
}

/// Columns as wide as their widest cell.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let line: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Certificates hold texts of strangers: no control character gets to the terminal, but those that are named.
pub(super) fn visible(text: &str, kept: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            _ if kept.contains(character) => visible.push(character),
            _ if character.is_control() => visible.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => visible.push(character),
        }
    }
    visible
}

/// To standard output.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(READER_GONE),
        done => done.map_err(CommandError::Write),
    }
}

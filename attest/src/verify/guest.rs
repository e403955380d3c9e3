//! The guest: what was launched, for whom, and what its owner lets the host do.

use crate::check::{Check, Class};
use crate::hex;
use crate::policy::{Bytes, Policy};
use crate::report::Report;

use super::Expected;

/// The VMPL of a report that the host asked for.
const OF_THE_HOST: u32 = u32::MAX;

/// The rows about what the verifier knows beforehand.
pub(super) fn bindings(report: &Report, expected: &Expected) -> [Check; 3] {
    [
        exact("measurement", Class::Measurement, expected.measurement, report.measurement()),
        exact("host_data", Class::Binding, expected.host_data, report.host_data()),
        exact("report_data", Class::Binding, expected.report_data, report.report_data()),
    ]
}

fn exact<const N: usize>(
    name: &'static str,
    class: Class,
    expected: Option<[u8; N]>,
    actual: [u8; N],
) -> Check {
    match expected {
        Some(expected) => {
            Check::made(name, class, expected == actual, hex::encode(&expected), hex::encode(&actual))
        }
        None => Check::skipped(name, class, hex::encode(&actual)),
    }
}

/// The rows about what the policy wants.
pub(super) fn policy(report: &Report, policy: &Policy) -> Vec<Check> {
    let bits = report.guest_policy();
    let mut rows = vec![
        flag("debug", bits.debug(), policy.allow_debug),
        flag("migration", bits.migrate_ma(), policy.allow_migration),
        flag("smt", bits.smt(), policy.allow_smt),
        vmpl(report, policy),
        migration_agent(report, policy),
    ];
    rows.push(digest("id_key_digest", &policy.id_key_digests, report.id_key_digest(), true));
    let author = report.author_key_digest();
    rows.push(digest("author_key_digest", &policy.author_key_digests, author, report.has_author_key()));
    rows
}

fn flag(name: &'static str, set: bool, allowed: bool) -> Check {
    let text = |set| if set { "allowed" } else { "forbidden" };
    let expected = if allowed { "any" } else { "forbidden" };
    Check::made(name, Class::Policy, allowed || !set, expected, text(set))
}

fn vmpl(report: &Report, policy: &Policy) -> Check {
    let expected = match policy.max_vmpl {
        0 => "0".to_owned(),
        most => format!("<= {most}"),
    };
    let actual = match report.vmpl() {
        OF_THE_HOST => "the host asked, not the guest".to_owned(),
        level => level.to_string(),
    };
    let holds = report.vmpl() <= policy.max_vmpl && report.vmpl() != OF_THE_HOST;
    Check::made("vmpl", Class::Policy, holds, expected, actual)
}

/// A guest without a migration agent has all ones.
fn migration_agent(report: &Report, policy: &Policy) -> Check {
    let actual = report.report_id_ma();
    let none = actual == [0xff; 32];
    let expected = if policy.allow_migration { "any" } else { "none" };
    let actual = if none { "none".to_owned() } else { hex::encode(&actual) };
    Check::made("report_id_ma", Class::Policy, none || policy.allow_migration, expected, actual)
}

fn digest(name: &'static str, allowed: &[Bytes<48>], actual: [u8; 48], set: bool) -> Check {
    let text = if set && actual != [0; 48] { hex::encode(&actual) } else { "none".to_owned() };
    if allowed.is_empty() {
        return Check::skipped(name, Class::Policy, text);
    }
    let holds = set && allowed.iter().any(|digest| digest.0 == actual);
    let expected = allowed.iter().map(|digest| hex::encode(&digest.0)).collect::<Vec<_>>().join(" or ");
    Check::made(name, Class::Policy, holds, expected, text)
}

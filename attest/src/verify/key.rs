//! The signing key: which it is, that AMD vouches for it, and that it does so now.

use crate::cause;
use crate::certificate::Certificate;
use crate::chain::{Chain, signer};
use crate::check::{Check, Class};
use crate::endorsement;
use crate::policy::Policy;
use crate::report::{Report, Signer};
use crate::roots::Roots;
use crate::time::text;

use super::Evidence;

/// The rows about the key of a report, and its chain where there is one.
pub(super) fn check(
    report: &Report,
    key: Option<&Certificate>,
    evidence: &Evidence<'_>,
    policy: &Policy,
    roots: &Roots,
) -> (Option<Chain>, Vec<Check>) {
    let mut rows = vec![signing_key(report, key, policy)];
    let expected = "key < issuer < pinned AMD root";
    let chain = match key.map(|key| Chain::build(key, evidence.certificates, roots)) {
        None => {
            rows.push(Check::made(
                "chain",
                Class::Chain,
                false,
                expected,
                "no certificate of a signing key is given",
            ));
            return (None, rows);
        }
        Some(Err(error)) => {
            rows.push(Check::made("chain", Class::Chain, false, expected, cause::chain(&error)));
            return (None, rows);
        }
        Some(Ok(chain)) => chain,
    };
    let names = chain.certificates().map(Certificate::subject_name).join(" < ");
    rows.push(Check::made("chain", Class::Chain, true, expected, names));
    rows.push(validity(&chain, evidence.now));
    rows.push(revocation(&chain, evidence, policy));
    if let Some(row) = provider(&chain, policy) {
        rows.push(row);
    }
    (Some(chain), rows)
}

/// The report, its certificate and the policy have to agree on the kind of key.
fn signing_key(report: &Report, key: Option<&Certificate>, policy: &Policy) -> Check {
    let expected = if policy.allow_vlek { "VCEK or VLEK" } else { "VCEK" };
    let row = |class, holds, actual: &str| Check::made("signing_key", class, holds, expected, actual);
    let certified = key.map(signer);
    match report.signer() {
        Signer::None => row(Class::Signature, false, "none: the report says that it is not signed"),
        Signer::Unknown(number) => row(Class::Signature, false, &format!("key {number}, which is not known")),
        Signer::Vcek if report.masks_chip_key() => row(
            Class::Signature,
            false,
            "VCEK, though the host masks it (MASK_CHIP_KEY): it signs nothing then",
        ),
        named if certified.is_some_and(|kind| kind != Some(named)) => {
            let certified = certified.flatten().map_or("no endorsement key", name_of);
            let actual = format!("{} in the report, {certified} in its certificate", name_of(named));
            row(Class::Chain, false, &actual)
        }
        Signer::Vlek if !policy.allow_vlek => row(Class::Policy, false, "VLEK"),
        named => row(Class::Policy, true, name_of(named)),
    }
}

fn name_of(signer: Signer) -> &'static str {
    match signer {
        Signer::Vcek => "VCEK",
        Signer::Vlek => "VLEK",
        Signer::None | Signer::Unknown(_) => "none",
    }
}

/// All three certificates hold now.
fn validity(chain: &Chain, now: u64) -> Check {
    let expected = format!("all three at {}", text(now));
    let wrong = chain.certificates().into_iter().find_map(|certificate| {
        let (from, to) = certificate.validity();
        let name = certificate.subject_name();
        match () {
            () if now < from => Some(format!("{name} only from {} on", text(from))),
            () if now > to => Some(format!("{name} only to {}", text(to))),
            () => None,
        }
    });
    let until = chain.certificates().map(|certificate| certificate.validity().1).into_iter().min();
    let actual = wrong.clone().unwrap_or_else(|| format!("to {}", text(until.unwrap_or_default())));
    Check::made("validity", Class::Validity, wrong.is_none(), expected, actual)
}

/// The root's lists revoke neither the root nor the intermediate. They say nothing of signing keys: those have no serial
/// numbers of their own.
fn revocation(chain: &Chain, evidence: &Evidence<'_>, policy: &Policy) -> Check {
    let root = &chain.root;
    let expected = format!("a list of {} without {}", root.subject_name(), chain.intermediate.subject_name());
    let row = |holds, actual: String| Check::made("crl", Class::Validity, holds, expected.clone(), actual);
    if evidence.crls.is_empty() {
        let actual = "CRL not checked: none is given";
        return if policy.require_crl {
            row(false, actual.to_owned())
        } else {
            Check::skipped("crl", Class::Validity, actual)
        };
    }
    let mut found = None;
    for crl in evidence.crls.iter().filter(|crl| crl.is_of(root)) {
        let (from, to) = crl.validity();
        if let Err(error) = crl.verify_issued_by(root) {
            return row(false, format!("the list of {}: {error}", crl.issuer_name()));
        }
        if let Some(revoked) = [&chain.intermediate, root].into_iter().find(|issued| crl.revokes(issued)) {
            return row(false, format!("{} is revoked", revoked.subject_name()));
        }
        if !(from..=to).contains(&evidence.now) {
            return row(false, format!("the list holds from {} to {}", text(from), text(to)));
        }
        found = Some(format!("none of {} revoked, to {}", crl.len(), text(to)));
    }
    match found {
        Some(actual) => row(true, actual),
        None => row(false, format!("no list of {} is among those given", root.subject_name())),
    }
}

/// The cloud provider of a VLEK, where the policy names some.
fn provider(chain: &Chain, policy: &Policy) -> Option<Check> {
    if signer(&chain.key) != Some(Signer::Vlek) {
        return None;
    }
    let actual = endorsement::csp_id(&chain.key).unwrap_or_else(|| "none is named".to_owned());
    Some(if policy.csp_ids.is_empty() {
        Check::skipped("csp_id", Class::Policy, actual)
    } else {
        let holds = policy.csp_ids.contains(&actual);
        Check::made("csp_id", Class::Policy, holds, policy.csp_ids.join(" or "), actual)
    })
}

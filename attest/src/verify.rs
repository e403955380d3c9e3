//! The judgement of a report: every check is made and becomes a row, whatever came of those before it. A report whose
//! signature is wrong says nothing, but what it claims helps to find out why.

mod guest;
mod key;
mod platform;

use ring::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};

use crate::certificate::{Certificate, PublicKey};
use crate::chain::{self, Chain};
use crate::check::{Check, Class, Outcome, Status};
use crate::crl::Crl;
use crate::policy::Policy;
use crate::product::Product;
use crate::report::Report;
use crate::roots::Roots;

/// What a report has to hold; what is `None` is not compared.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The launch digest.
    pub measurement: Option<[u8; 48]>,
    /// HOST_DATA.
    pub host_data: Option<[u8; 32]>,
    /// REPORT_DATA.
    pub report_data: Option<[u8; 64]>,
}

/// What there is to judge by.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The report, as it came.
    pub report: &'a [u8],
    /// The signing key's certificate, and intermediates, in any order.
    pub certificates: &'a [Certificate],
    /// Lists of revoked certificates.
    pub crls: &'a [Crl],
    /// The time, in seconds since 1970.
    pub now: u64,
}

/// Judges a report.
#[must_use]
pub fn verify(evidence: Evidence<'_>, expected: &Expected, policy: &Policy, roots: &Roots) -> Outcome {
    let form = format!("{} bytes, version 2, 3 or 5", crate::report::LENGTH);
    let report = match Report::parse(evidence.report) {
        Ok(report) => report,
        Err(error) => {
            let row = Check::made("report", Class::Malformed, false, form, error.to_string());
            return Outcome { checks: vec![row], product: None, hint: None };
        }
    };
    let actual = format!("{} bytes, version {}", evidence.report.len(), report.version());
    let mut checks = vec![Check::made("report", Class::Malformed, true, form, actual)];
    let found = certificate_of(&report, &evidence, roots);
    let key = found.map(|(key, _)| key);
    let (chain, rows) = key::check(&report, key, &evidence, policy, roots);
    checks.extend(rows);
    checks.push(signature(&report, found.map(|(_, signed)| signed)));
    checks.extend(platform::check(&report, chain.as_ref(), policy));
    checks.extend(guest::bindings(&report, expected));
    checks.extend(guest::policy(&report, policy));
    let product = product_of(&report, chain.as_ref());
    // A certificate that does not fit may be another product's as well.
    let named = report.product().or(product).filter(|_| lacks_certificate(&checks));
    let hint = named.and_then(|product| platform::where_to_get(&report, product));
    Outcome { checks, product, hint }
}

/// Whether there is no certificate, or one of another chip or TCB version.
fn lacks_certificate(checks: &[Check]) -> bool {
    let failed = |name| checks.iter().any(|check| check.name == name && check.status == Status::Failed);
    failed("chip_id") || failed("key_tcb") || !checks.iter().any(|check| check.name == "key_tcb")
}

/// Of the certificates the one whose key has signed the report, or the first that could have and has not. Of several for one
/// key (AMD makes a new one for each who asks) the first that leads to a root and holds now.
fn certificate_of<'a>(
    report: &Report,
    evidence: &Evidence<'a>,
    roots: &Roots,
) -> Option<(&'a Certificate, bool)> {
    let keys = || evidence.certificates.iter().filter(|known| matches!(known.key(), PublicKey::P384(_)));
    let signers: Vec<_> = keys().filter(|key| is_signed_by(report, key)).collect();
    let sound = |key: &&&Certificate| {
        Chain::build(key, evidence.certificates, roots).is_ok_and(|chain| chain.holds_at(evidence.now))
    };
    if let [first, more @ ..] = signers.as_slice() {
        let key = if more.is_empty() { first } else { signers.iter().find(sound).unwrap_or(first) };
        return Some((key, true));
    }
    let kind = keys().find(|key| chain::signer(key) == Some(report.signer()));
    kind.or_else(|| keys().next()).map(|key| (key, false))
}

fn is_signed_by(report: &Report, certificate: &Certificate) -> bool {
    let PublicKey::P384(point) = certificate.key() else { return false };
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
        .verify(report.signed(), &report.signature())
        .is_ok()
}

fn signature(report: &Report, signed: Option<bool>) -> Check {
    let expected = "ECDSA P-384 by the certificate's key";
    let row = |holds, actual| Check::made("signature", Class::Signature, holds, expected, actual);
    match signed {
        _ if report.signature().iter().all(|byte| *byte == 0) => row(false, "none: the report is not signed"),
        None => Check::skipped("signature", Class::Signature, "there is no certificate of the signing key"),
        Some(true) => row(true, "it is"),
        Some(false) => row(false, "no: other bytes, or another key"),
    }
}

/// The product of a report by itself, or of its chain.
fn product_of(report: &Report, chain: Option<&Chain>) -> Option<Product> {
    chain.map(|chain| chain.product).or_else(|| report.product())
}

#[cfg(test)]
mod tests;

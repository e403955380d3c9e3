//! The processor: its product, its chip, and how old its firmware and microcode may be.

use crate::chain::{Chain, signer};
use crate::check::{Check, Class};
use crate::endorsement;
use crate::hex;
use crate::policy::Policy;
use crate::product::Product;
use crate::report::{Report, Signer};
use crate::tcb::{Component, Tcb};

/// The rows about the processor. Where neither chain nor report say what it is, nothing can be said of its TCB.
pub(super) fn check(report: &Report, chain: Option<&Chain>, policy: &Policy) -> Vec<Check> {
    let mut rows = vec![product(report, chain, policy)];
    if let Some(chain) = chain {
        rows.push(key_tcb(report, chain));
        rows.push(chip(report, chain, policy));
    }
    rows.extend(allowed_chip(report, policy));
    if let Some(product) = super::product_of(report, chain) {
        rows.push(order(report, product));
        rows.extend(minimum(report, product, policy));
    }
    rows
}

/// Report, signing key and root are of one product, which the policy allows.
fn product(report: &Report, chain: Option<&Chain>, policy: &Policy) -> Check {
    let expected = chain.map_or("that of the chain", |chain| chain.product.name());
    let row = |class, holds, expected: &str, actual| Check::made("product", class, holds, expected, actual);
    let (product, chain) = match (agreed(report, chain), chain) {
        (Err(actual), _) => return row(Class::Chain, false, expected, actual),
        (Ok(Some(product)), Some(chain)) => (product, chain),
        (Ok(product), _) => {
            let actual = product.map_or("version 2 of a report does not say", Product::name);
            return Check::skipped("product", Class::Chain, actual);
        }
    };
    let source = match report.cpuid() {
        Some((family, model, stepping)) => {
            format!("family {family:#04x} model {model:#04x} stepping {stepping}")
        }
        None => endorsement::product_name(&chain.key).unwrap_or_default(),
    };
    let actual = format!("{product} ({source})");
    if chain.product != product {
        return row(Class::Chain, false, expected, actual);
    }
    if !policy.products.is_empty() && !policy.products.contains(&product) {
        let allowed = policy.products.iter().map(|product| product.name()).collect::<Vec<_>>().join(" or ");
        return row(Class::Policy, false, &allowed, actual);
    }
    row(Class::Chain, true, expected, actual)
}

/// The product that report and certificate agree on, or why there is none. A report of version 2 leaves it to the certificate.
fn agreed(report: &Report, chain: Option<&Chain>) -> Result<Option<Product>, String> {
    let reported = match (report.cpuid(), report.product()) {
        (Some((family, model, _)), None) => {
            return Err(format!("family {family:#04x} model {model:#04x}, which is not known"));
        }
        (_, reported) => reported,
    };
    let Some(chain) = chain else { return Ok(reported) };
    let certified = endorsement::product(&chain.key).map_err(|error| error.to_string())?;
    match reported {
        Some(reported) if reported != certified => {
            Err(format!("{reported} in the report, {certified} in its certificate"))
        }
        _ => Ok(Some(certified)),
    }
}

/// The key was derived with the TCB version that is reported.
fn key_tcb(report: &Report, chain: &Chain) -> Check {
    let reported = Tcb::new(chain.product, report.reported_tcb());
    let (holds, expected) = match endorsement::tcb(&chain.key, chain.product) {
        Ok(certified) => (certified == reported, certified.to_string()),
        Err(error) => (false, error.to_string()),
    };
    Check::made("key_tcb", Class::Tcb, holds, expected, reported.to_string())
}

/// The certificate is that of the chip, where it is of a chip at all.
fn chip(report: &Report, chain: &Chain, policy: &Policy) -> Check {
    let actual = chip_text(report);
    if signer(&chain.key) == Some(Signer::Vlek) {
        return Check::skipped("chip_id", Class::Chain, format!("{actual} (a VLEK is no chip's)"));
    }
    let hwid = match endorsement::hwid(&chain.key, chain.product) {
        Ok(hwid) => hwid,
        Err(error) => return Check::made("chip_id", Class::Chain, false, error.to_string(), actual),
    };
    let chip = report.chip_id();
    if chip == [0; 64] {
        let expected = hex::encode(&hwid);
        return Check::made("chip_id", Class::Policy, policy.allow_masked_chip_id, expected, actual);
    }
    let (named, rest) = chip.split_at(hwid.len());
    let holds = named == hwid && rest.iter().all(|byte| *byte == 0);
    Check::made("chip_id", Class::Chain, holds, hex::encode(&hwid), actual)
}

/// The chip is one that the policy names.
fn allowed_chip(report: &Report, policy: &Policy) -> Option<Check> {
    if policy.chip_ids.is_empty() {
        return None;
    }
    let holds = policy.chip_ids.iter().any(|chip| chip.0 == report.chip_id());
    let expected = policy.chip_ids.iter().map(|chip| hex::encode(&chip.0)).collect::<Vec<_>>().join(" or ");
    Some(Check::made("allowed_chip_id", Class::Policy, holds, expected, chip_text(report)))
}

/// A chip's id without the zeros that Turin's have behind them.
fn chip_text(report: &Report) -> String {
    let chip = report.chip_id();
    match chip {
        _ if chip == [0; 64] => "masked by the host".to_owned(),
        _ if chip[8..].iter().all(|byte| *byte == 0) => hex::encode(&chip[..8]),
        _ => hex::encode(&chip),
    }
}

/// REPORTED <= COMMITTED <= CURRENT: the host cannot claim more than it has.
fn order(report: &Report, product: Product) -> Check {
    let [reported, committed, current] =
        [report.reported_tcb(), report.committed_tcb(), report.current_tcb()]
            .map(|bytes| Tcb::new(product, bytes));
    let holds = current.at_least(committed) && committed.at_least(reported);
    let actual = if reported == committed && committed == current {
        format!("all {reported}")
    } else {
        format!("reported {reported}; committed {committed}; current {current}")
    };
    Check::made("tcb_order", Class::Tcb, holds, "reported <= committed <= current", actual)
}

/// Neither what is reported nor what launched the guest is older than the policy wants.
fn minimum(report: &Report, product: Product, policy: &Policy) -> Vec<Check> {
    let rows = [("minimum_tcb", report.reported_tcb()), ("launch_tcb", report.launch_tcb())];
    let check = |(name, bytes)| {
        let actual = Tcb::new(product, bytes);
        match policy.minimum_tcb.get(&product) {
            Some(minimum) => {
                let minimum = minimum.tcb(product);
                let holds = actual.at_least(minimum);
                Check::made(name, Class::Tcb, holds, format!(">= {minimum}"), actual.to_string())
            }
            None if policy.minimum_tcb.is_empty() => Check::skipped(name, Class::Tcb, actual.to_string()),
            None => Check::made(name, Class::Tcb, false, "one in the policy", format!("none for {product}")),
        }
    };
    rows.into_iter().map(check).collect()
}

/// Where AMD has the certificate that a report needs.
pub(super) fn where_to_get(report: &Report, product: Product) -> Option<String> {
    if report.signer() != Signer::Vcek || report.chip_id() == [0; 64] {
        return None;
    }
    let tcb = Tcb::new(product, report.reported_tcb());
    let chip = hex::encode(&report.chip_id()[..product.hwid_length()]);
    let fmc = match product {
        Product::Turin => format!("fmcSPL={:02}&", tcb.get(Component::Fmc)),
        Product::Milan | Product::Genoa => String::new(),
    };
    Some(format!(
        "AMD has the certificate that this report names at https://kdsintf.amd.com/vcek/v1/{product}/{chip}?{fmc}blSPL={:02}&teeSPL={:02}&snpSPL={:02}&ucodeSPL={:02}",
        tcb.get(Component::Bootloader),
        tcb.get(Component::Tee),
        tcb.get(Component::Snp),
        tcb.get(Component::Microcode),
    ))
}

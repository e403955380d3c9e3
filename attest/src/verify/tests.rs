//! Judgements of reports that a hierarchy of the tests' own has signed: one change each, and exactly the rows that it fails.

mod fake;
mod fuzz;
mod guest;
mod hierarchy;
mod oracle;
mod processor;
mod revocation;

use super::*;
use crate::certificate::Certificate;
use crate::time;

use fake::{Hierarchy, Said, endorsements, extension, tlv};

/// The chip of all reports.
const CHIP: [u8; 64] = [0xc5; 64];

/// A report that is about to be signed and judged, and all that it is judged by.
pub(crate) struct Scene {
    pub(crate) hierarchy: Hierarchy,
    pub(crate) product: Product,
    pub(crate) report: Vec<u8>,
    pub(crate) said: Said,
    pub(crate) given: Vec<Certificate>,
    pub(crate) crls: Vec<Crl>,
    pub(crate) policy: Policy,
    pub(crate) expected: Expected,
    pub(crate) now: u64,
}

impl Scene {
    /// A sound report of a version, with the certificate of its VCEK.
    pub(crate) fn new(product: Product, version: u32) -> Self {
        let tcb = match product {
            Product::Milan | Product::Genoa => [4, 1, 0, 0, 0, 0, 24, 219],
            Product::Turin => [1, 2, 3, 4, 0, 0, 0, 81],
        };
        let cpuid = match product {
            Product::Milan => [0x19, 0x01, 0x01],
            Product::Genoa => [0x19, 0x11, 0x01],
            Product::Turin => [0x1a, 0x02, 0x01],
        };
        let length = product.hwid_length();
        let mut report = vec![0; crate::report::LENGTH];
        report[..4].copy_from_slice(&version.to_le_bytes());
        report[0x08..0x10].copy_from_slice(&0x3_0000u64.to_le_bytes());
        report[0x34] = 1;
        for place in [0x38, 0x180, 0x1e0, 0x1f0] {
            report[place..place + 8].copy_from_slice(&tcb);
        }
        report[0x160..0x180].fill(0xff);
        if version >= 3 {
            report[0x188..0x18b].copy_from_slice(&cpuid);
        }
        report[0x1a0..0x1a0 + length].copy_from_slice(&CHIP[..length]);
        let mut extensions = endorsements(product, &format!("{product}-B1"), tcb);
        extensions.push(extension("1.3.6.1.4.1.3704.1.4", false, &CHIP[..length]));
        let said = Said {
            serial: vec![0],
            issuer: format!("SEV-{product}"),
            subject: "SEV-VCEK".to_owned(),
            from: "260101000000Z",
            to: "330101000000Z",
            trailer: false,
            extensions,
        };
        Self {
            hierarchy: Hierarchy::new(),
            product,
            report,
            said,
            given: Vec::new(),
            crls: Vec::new(),
            policy: Policy::default(),
            expected: Expected::default(),
            now: time::parse("2026-11-22T00:00:00Z").unwrap(),
        }
    }

    /// The same with a VLEK, which the policy allows, and its issuer's certificate.
    pub(crate) fn vlek(product: Product) -> Self {
        let mut scene = Self::new(product, 3);
        scene.report[0x48] = 1 << 2;
        scene.report[0x1a0..0x1e0].fill(0);
        scene.said.issuer = format!("SEV-VLEK-{product}");
        scene.said.subject = "SEV-VLEK".to_owned();
        scene.said.extensions.pop();
        let provider = tlv(0x16, &[b"CN=cloud.example"]);
        scene.said.extensions.push(extension("1.3.6.1.4.1.3704.1.5", false, &provider));
        scene.given.push(scene.hierarchy.intermediate(product, "SEV-VLEK-", |_| {}));
        scene.policy.allow_vlek = true;
        scene
    }

    /// Overwrites bytes of the report.
    pub(crate) fn put(&mut self, place: usize, bytes: &[u8]) {
        self.report[place..place + bytes.len()].copy_from_slice(bytes);
    }

    /// Replaces an extension of the key's certificate.
    pub(crate) fn say(&mut self, id: &str, value: &[u8]) {
        self.unsay(id);
        self.said.extensions.push(extension(id, false, value));
    }

    /// Takes an extension away.
    pub(crate) fn unsay(&mut self, id: &str) {
        let id = fake::oid(id);
        self.said.extensions.retain(|extension| !extension.windows(id.len()).any(|window| window == id));
    }

    /// Signs the report and judges it by the tests' roots.
    pub(crate) fn judge(mut self) -> Outcome {
        self.hierarchy.sign(&mut self.report);
        let roots = self.hierarchy.roots();
        self.judge_by(&roots)
    }

    /// Judges the report as it is.
    pub(crate) fn judge_by(&self, roots: &Roots) -> Outcome {
        let mut certificates = vec![self.hierarchy.endorsed(&self.said)];
        certificates.extend(self.given.iter().cloned());
        let evidence =
            Evidence { report: &self.report, certificates: &certificates, crls: &self.crls, now: self.now };
        verify(evidence, &self.expected, &self.policy, roots)
    }
}

/// The names of the rows that failed.
pub(crate) fn failed(outcome: &Outcome) -> Vec<&'static str> {
    let failed = outcome.checks.iter().filter(|check| check.status == Status::Failed);
    failed.map(|check| check.name).collect()
}

/// The row of a name.
pub(crate) fn row<'a>(outcome: &'a Outcome, name: &str) -> &'a Check {
    outcome.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no row {name}"))
}

/// A change, the rows that fail of it, and their class.
pub(crate) type Case = (&'static str, fn(&mut Scene), &'static [&'static str], Option<Class>);

/// Tries each change on a sound scene.
pub(crate) fn try_all(scene: impl Fn() -> Scene, cases: &[Case]) {
    for (name, change, rows, class) in cases {
        let mut scene = scene();
        change(&mut scene);
        let product = scene.product;
        let outcome = scene.judge();
        let found = (failed(&outcome), outcome.failure());
        assert_eq!(found, (rows.to_vec(), *class), "{product}, {name}: {:#?}", outcome.checks);
    }
}

#[test]
fn a_sound_report_is_believed() {
    for product in Product::ALL {
        for version in [2, 3, 5] {
            let outcome = Scene::new(product, version).judge();
            assert_eq!((failed(&outcome), outcome.product), (vec![], Some(product)), "{:#?}", outcome.checks);
        }
        let outcome = Scene::vlek(product).judge();
        assert_eq!((failed(&outcome), outcome.product), (vec![], Some(product)), "{:#?}", outcome.checks);
    }
}

/// What newer firmware may set is no reason to refuse.
#[test]
fn bits_without_a_meaning_are_left_alone() {
    let changes: [Case; 6] = [
        ("guest policy", |scene| scene.put(0x0b, &[0xff; 5]), &[], None),
        ("platform information", |scene| scene.put(0x40, &[0xff; 8]), &[], None),
        ("key information", |scene| scene.put(0x48, &[0xe0, 0xff, 0xff, 0xff]), &[], None),
        ("behind the processor", |scene| scene.put(0x18b, &[0xff; 21]), &[], None),
        ("behind the versions", |scene| scene.put(0x1eb, &[0xff]), &[], None),
        ("behind the launch's TCB", |scene| scene.put(0x1f8, &[0xff; 0x2a0 - 0x1f8]), &[], None),
    ];
    for product in Product::ALL {
        try_all(|| Scene::new(product, 5), &changes);
    }
}

/// Whatever the certificates are, a changed bit of what is signed shows.
#[test]
fn every_bit_that_is_signed_counts() {
    let mut scene = Scene::new(Product::Turin, 5);
    scene.hierarchy.sign(&mut scene.report);
    let (roots, certificates) = (Roots::none(), [scene.hierarchy.endorsed(&scene.said)]);
    let signature = |report: &[u8]| {
        let evidence = Evidence { report, certificates: &certificates, crls: &[], now: scene.now };
        row(&verify(evidence, &scene.expected, &scene.policy, &roots), "signature").status
    };
    let mut report = scene.report.clone();
    assert_eq!(signature(&report), Status::Ok);
    // Another version or algorithm is no report at all.
    for bit in (32..0x2a0 * 8).filter(|bit| !(0x34 * 8..0x38 * 8).contains(bit)) {
        report[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(signature(&report), Status::Failed, "bit {bit}");
        report[bit / 8] ^= 1 << (bit % 8);
    }
}

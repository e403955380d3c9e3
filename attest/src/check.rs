//! What was found: a row a check, and what they come to together.

use serde::{Serialize, Serializer};

use crate::product::Product;

/// What a failed check is about. The order is that of importance: a report that fails in several ways is of the first class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A report, certificate, list or policy that cannot be read.
    Malformed,
    /// The report is not signed by the key that it should be.
    Signature,
    /// The certificates do not lead to a pinned root, or belong to another chip or product.
    Chain,
    /// A certificate or list does not hold now, or is revoked.
    Validity,
    /// Firmware or microcode is older than it may be, or not what the key stands for.
    Tcb,
    /// Something else was launched.
    Measurement,
    /// The report answers another question: HOST_DATA or REPORT_DATA differ.
    Binding,
    /// The report is sound and the policy does not want it.
    Policy,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Signature,
        Self::Chain,
        Self::Validity,
        Self::Tcb,
        Self::Measurement,
        Self::Binding,
        Self::Policy,
    ];

    /// The name in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Signature => "signature",
            Self::Chain => "chain",
            Self::Validity => "validity",
            Self::Tcb => "tcb",
            Self::Measurement => "measurement",
            Self::Binding => "binding",
            Self::Policy => "policy",
        }
    }

    /// The exit code of a program whose report fails so.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Malformed => 10,
            Self::Signature => 11,
            Self::Chain => 12,
            Self::Validity => 13,
            Self::Tcb => 14,
            Self::Measurement => 15,
            Self::Binding => 16,
            Self::Policy => 17,
        }
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is as it should be.
    Ok,
    /// It is not.
    Failed,
    /// Nobody said what it should be.
    NotChecked,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is looked at; the names are stable.
    pub name: &'static str,
    /// What its failure means.
    pub class: Class,
    /// What came of it.
    pub status: Status,
    /// What it should be; empty where nobody said.
    pub expected: String,
    /// What it is.
    pub actual: String,
}

impl Check {
    /// A check that was made.
    pub(crate) fn made(
        name: &'static str,
        class: Class,
        holds: bool,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Self {
        let status = if holds { Status::Ok } else { Status::Failed };
        Self { name, class, status, expected: expected.into(), actual: actual.into() }
    }

    /// A check that nobody asked for.
    pub(crate) fn skipped(name: &'static str, class: Class, actual: impl Into<String>) -> Self {
        Self { name, class, status: Status::NotChecked, expected: String::new(), actual: actual.into() }
    }
}

/// What all checks come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All that was asked for holds.
    Verified,
    /// All that was checked holds, but what was launched or for whom was not asked.
    Incomplete,
    /// Something does not hold.
    Failed,
}

/// Everything that was found about a report.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The rows.
    pub checks: Vec<Check>,
    /// The product whose root the chain ends at.
    pub product: Option<Product>,
    /// What the user can do about a missing certificate.
    pub hint: Option<String>,
}

impl Outcome {
    /// The checks that every judgement needs: without them it is incomplete.
    const NEEDED: [&'static str; 2] = ["measurement", "report_data"];

    /// What the rows come to. With `unbound`, what is not checked is not missed.
    #[must_use]
    pub fn verdict(&self, unbound: bool) -> Verdict {
        if self.failure().is_some() {
            return Verdict::Failed;
        }
        if unbound || self.unchecked().next().is_none() { Verdict::Verified } else { Verdict::Incomplete }
    }

    /// The class of the failure, of several the most important.
    #[must_use]
    pub fn failure(&self) -> Option<Class> {
        let failed = self.checks.iter().filter(|check| check.status == Status::Failed);
        failed.map(|check| check.class).min()
    }

    /// What was needed and not asked for.
    pub fn unchecked(&self) -> impl Iterator<Item = &'static str> {
        let missing = |check: &&Check| check.status != Status::Ok && Self::NEEDED.contains(&check.name);
        self.checks.iter().filter(missing).map(|check| check.name)
    }
}

//! Why two launch digests differ: the first run of pages in which the launches part, and which inputs it comes from.

use serde::Serialize;

use crate::measure::{FileSummary, InputsSummary, Measurement, RunRow};

/// What two measurements differ in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The digests, which differ.
    pub digests: [String; 2],
    /// The first run that differs; missing where one launch has no more runs.
    pub first: [Option<RunRow>; 2],
    /// Names of all runs that differ, in the order of the launch.
    pub runs: Vec<String>,
    /// The inputs that differ.
    pub inputs: Vec<InputDifference>,
}

/// An input of two values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputDifference {
    /// Its name.
    pub name: &'static str,
    /// What it is in each.
    pub values: [String; 2],
}

/// Compares measurements; nothing where the digests are the same.
#[must_use]
pub fn diff(one: &Measurement, other: &Measurement) -> Option<Difference> {
    if one.digest == other.digest {
        return None;
    }
    let length = one.runs.len().max(other.runs.len());
    let pairs = (0..length).map(|index| (one.runs.get(index), other.runs.get(index)));
    let differing: Vec<_> = pairs.filter(|(one, other)| !is_same(*one, *other)).collect();
    let first = differing.first().copied().unwrap_or_default();
    let mut runs: Vec<String> = Vec::new();
    for run in differing.iter().filter_map(|(one, other)| one.or(*other)) {
        if !runs.contains(&run.name) {
            runs.push(run.name.clone());
        }
    }
    Some(Difference {
        digests: [one.digest.clone(), other.digest.clone()],
        first: [first.0.cloned(), first.1.cloned()],
        runs,
        inputs: inputs(&one.inputs, &other.inputs),
    })
}

/// Whether two runs add the same to a digest. What is before them does not count, so that each difference is seen.
fn is_same(one: Option<&RunRow>, other: Option<&RunRow>) -> bool {
    let measured =
        |run: &RunRow| (run.name.clone(), run.kind.clone(), run.gpa, run.pages, run.sha256.clone());
    one.map(measured) == other.map(measured)
}

fn inputs(one: &InputsSummary, other: &InputsSummary) -> Vec<InputDifference> {
    let file = |file: &FileSummary| format!("{} bytes, SHA-256 {}", file.size, file.sha256);
    let values = |inputs: &InputsSummary| {
        [
            ("kernel", file(&inputs.kernel)),
            ("initramfs", file(&inputs.initramfs)),
            ("launch.json", file(&inputs.launch)),
            ("stub", file(&inputs.stub)),
            ("command line", inputs.command_line.clone()),
            ("memory", format!("{} MiB", inputs.memory_mib)),
            ("vCPUs", inputs.vcpus.to_string()),
        ]
    };
    let pairs = values(one).into_iter().zip(values(other));
    pairs
        .filter(|(one, other)| one != other)
        .map(|((name, one), (_, other))| InputDifference { name, values: [one, other] })
        .collect()
}

//! docs/dependencies.md gives a reason for each crate that ours use directly.

use std::collections::BTreeSet;

use crate::graph::direct;

#[test]
fn every_direct_dependency_has_its_reason() {
    let document = std::fs::read_to_string(tests::work_tree().join("docs/dependencies.md")).unwrap();
    let reasons: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter(|(_, reason)| reason.len() > "| ".len())
        .map(|(name, _)| name.to_owned())
        .collect();
    let used = direct();
    let missing: Vec<_> = used.difference(&reasons).collect();
    assert!(missing.is_empty(), "without a reason in docs/dependencies.md: {missing:?}");
    let unused: Vec<_> = reasons.difference(&used).collect();
    assert!(unused.is_empty(), "in docs/dependencies.md, but not used: {unused:?}");
}

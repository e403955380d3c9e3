//! One version of each dependency: two of one crate are more code in the program and two places to mend.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::built;

/// Crates that are linked in more than one version, and why that cannot be helped now.
const DUPLICATES: [(&str, &str); 3] = [
    ("bitflags", "vmm-sys-util 0.15, under all rust-vmm crates, still uses 1.3"),
    ("getrandom", "ring 0.17, under rustls, still uses 0.2; uuid, under vhost, has 0.4"),
    ("syn", "the derive macros under oci-spec 0.10 still use 2; at build time only"),
];

#[test]
fn no_dependency_comes_in_two_versions() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, version) in built() {
        versions.entry(name).or_default().insert(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let known = DUPLICATES.map(|(name, _)| name);
    let new: Vec<_> = versions.iter().filter(|(name, _)| !known.contains(&name.as_str())).collect();
    assert!(new.is_empty(), "linked twice: {new:?}");
    let gone: Vec<_> = known.iter().filter(|name| !versions.contains_key(**name)).collect();
    assert!(gone.is_empty(), "no longer linked twice, take out of the list: {gone:?}");
}

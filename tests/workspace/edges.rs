//! Which of our crates may use which; the table of docs/design.md.

use crate::graph::crates;

/// A crate, and those of ours that it may link.
const EDGES: [(&str, &[&str]); 15] = [
    ("spec", &[]),
    ("tar", &[]),
    ("image", &["spec", "tar"]),
    ("net", &["spec"]),
    ("pod", &["image", "net", "spec"]),
    ("attest", &["snp-layout", "spec"]),
    ("vmm", &["snp-layout", "spec"]),
    ("vdocker", &["spec"]),
    ("frontend", &["image", "net", "pod", "spec", "tar", "vdocker"]),
    ("guest-init", &["spec", "tar", "vdocker"]),
    ("snp-stub", &[]),
    ("snp-layout", &["snp-stub"]),
    ("kcradle", &["attest", "frontend", "image", "net", "pod", "spec", "tar", "vdocker", "vmm"]),
    ("fuzz", &[]),
    ("tests", &[]),
];

#[test]
fn our_crates_use_each_other_as_designed() {
    let crates = crates();
    let ours: Vec<_> = crates.iter().filter(|krate| krate.ours).collect();
    let names: Vec<_> = ours.iter().map(|krate| krate.name.as_str()).collect();
    for krate in &ours {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == krate.name) else {
            panic!("{} is not in the table of edges", krate.name);
        };
        for link in krate.links.iter().filter(|link| names.contains(&link.as_str())) {
            assert!(allowed.contains(&link.as_str()), "{} must not use {link}", krate.name);
        }
    }
    assert_eq!(ours.len(), EDGES.len(), "the table names a crate that is gone: {names:?}");
}

#[test]
fn the_contract_needs_nothing_but_serde() {
    let spec = crates().into_iter().find(|krate| krate.name == "spec").unwrap();
    let foreign: Vec<_> = spec.links.iter().filter(|link| !link.starts_with("serde")).collect();
    assert!(foreign.is_empty(), "spec links {foreign:?}");
}

#[test]
fn what_a_verifier_has_to_trust_of_the_stub_is_its_own() {
    let stub = crates().into_iter().find(|krate| krate.name == "snp-stub").unwrap();
    assert!(stub.links.is_empty(), "snp-stub links {:?}", stub.links);
}

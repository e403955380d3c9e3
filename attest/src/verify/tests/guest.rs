//! What was launched, for whom, and what the policy says of it.

use super::*;
use crate::policy::Bytes;

/// What is allowed by a policy's text, beside its version.
fn policy(scene: &mut Scene, fields: &str) {
    scene.policy = Policy::parse(format!(r#"{{"version": 1, {fields}}}"#).as_bytes()).unwrap();
}

#[test]
fn what_is_expected_is_compared_as_it_is() {
    let cases: [Case; 6] = [
        (
            "the digest",
            |scene| {
                scene.put(0x90, &[7; 48]);
                scene.expected.measurement = Some([7; 48]);
            },
            &[],
            None,
        ),
        (
            "another digest",
            |scene| scene.expected.measurement = Some([7; 48]),
            &["measurement"],
            Some(Class::Measurement),
        ),
        (
            "a digest that differs at its end",
            |scene| {
                scene.put(0x90, &[7; 47]);
                scene.expected.measurement = Some([7; 48]);
            },
            &["measurement"],
            Some(Class::Measurement),
        ),
        (
            "another configuration",
            |scene| scene.expected.host_data = Some([7; 32]),
            &["host_data"],
            Some(Class::Binding),
        ),
        (
            "another question",
            |scene| scene.expected.report_data = Some([7; 64]),
            &["report_data"],
            Some(Class::Binding),
        ),
        (
            "all of it",
            |scene| {
                scene.put(0x50, &[5; 64]);
                scene.put(0x90, &[6; 48]);
                scene.put(0xc0, &[7; 32]);
                scene.expected = Expected {
                    report_data: Some([5; 64]),
                    measurement: Some([6; 48]),
                    host_data: Some([7; 32]),
                };
            },
            &[],
            None,
        ),
    ];
    try_all(|| Scene::new(Product::Milan, 3), &cases);
}

#[test]
fn without_what_was_launched_and_for_whom_a_judgement_is_incomplete() {
    let mut scene = Scene::new(Product::Genoa, 3);
    scene.expected.measurement = Some([0; 48]);
    let outcome = scene.judge();
    assert_eq!(outcome.verdict(false), crate::check::Verdict::Incomplete);
    assert_eq!(outcome.unchecked().collect::<Vec<_>>(), ["report_data"]);
    let mut scene = Scene::new(Product::Genoa, 3);
    scene.expected = Expected { measurement: Some([0; 48]), report_data: Some([0; 64]), host_data: None };
    assert_eq!(scene.judge().verdict(false), crate::check::Verdict::Verified);
}

/// A change, the rows that fail of it, and the words of a policy that allow it.
type Allowance = (&'static str, fn(&mut Scene), &'static [&'static str], &'static str);

/// One row each: the change, what fails of it under the strict policy, and the words that allow it.
#[test]
fn the_policy_decides_of_what_is_genuine() {
    let refused = Some(Class::Policy);
    let matrix: [Allowance; 9] = [
        ("debug", |scene| scene.put(0x0a, &[0x0b]), &["debug"], r#""allow_debug": true"#),
        ("migration", |scene| scene.put(0x0a, &[0x07]), &["migration"], r#""allow_migration": true"#),
        (
            "a migration agent",
            |scene| scene.put(0x160, &[1; 32]),
            &["report_id_ma"],
            r#""allow_migration": true"#,
        ),
        (
            "a bit of the agent's id",
            |scene| scene.put(0x17f, &[0x7f]),
            &["report_id_ma"],
            r#""allow_migration": true"#,
        ),
        ("VMPL 1", |scene| scene.put(0x30, &[1]), &["vmpl"], r#""max_vmpl": 1"#),
        ("VMPL 3", |scene| scene.put(0x30, &[3]), &["vmpl"], r#""max_vmpl": 3"#),
        ("VMPL 256", |scene| scene.put(0x30, &[0, 1]), &["vmpl"], r#""max_vmpl": 256"#),
        (
            "a masked chip",
            |scene| scene.put(0x1a0, &[0; 64]),
            &["chip_id"],
            r#""allow_masked_chip_id": true"#,
        ),
        (
            "debug and VMPL 2",
            |scene| {
                scene.put(0x0a, &[0x0b]);
                scene.put(0x30, &[2]);
            },
            &["debug", "vmpl"],
            r#""allow_debug": true, "max_vmpl": 2"#,
        ),
    ];
    for product in Product::ALL {
        for (name, change, rows, words) in &matrix {
            let mut strict = Scene::new(product, 3);
            change(&mut strict);
            let outcome = strict.judge();
            assert_eq!((failed(&outcome), outcome.failure()), (rows.to_vec(), refused), "{product}, {name}");
            let mut allowing = Scene::new(product, 3);
            change(&mut allowing);
            policy(&mut allowing, words);
            assert_eq!(failed(&allowing.judge()), Vec::<&str>::new(), "{product}, {name}, {words}");
            // What allows one thing allows no other.
            for (other, change, rows, _) in matrix.iter().filter(|(.., others)| !words.contains(others)) {
                if words.contains("max_vmpl") && rows.contains(&"vmpl") {
                    continue;
                }
                let mut scene = Scene::new(product, 3);
                change(&mut scene);
                policy(&mut scene, words);
                assert!(scene.judge().failure().is_some(), "{other} by {words}");
            }
        }
    }
}

#[test]
fn a_policy_can_want_more_than_is_usual() {
    let cases: [Case; 17] = [
        (
            "no threads of others",
            |scene| policy(scene, r#""allow_smt": false"#),
            &["smt"],
            Some(Class::Policy),
        ),
        (
            "none of others, and it has none",
            |scene| {
                scene.put(0x0a, &[0x02]);
                policy(scene, r#""allow_smt": false"#);
            },
            &[],
            None,
        ),
        (
            "another product",
            |scene| policy(scene, r#""products": ["milan", "genoa"]"#),
            &["product"],
            Some(Class::Policy),
        ),
        ("this product", |scene| policy(scene, r#""products": ["turin", "genoa"]"#), &[], None),
        (
            "a list of revoked certificates",
            |scene| policy(scene, r#""require_crl": true"#),
            &["crl"],
            Some(Class::Validity),
        ),
        (
            "an ID key",
            |scene| scene.policy.id_key_digests = vec![Bytes([1; 48])],
            &["id_key_digest"],
            Some(Class::Policy),
        ),
        (
            "no ID key at all is none",
            |scene| scene.policy.id_key_digests = vec![Bytes([2; 48])],
            &["id_key_digest"],
            Some(Class::Policy),
        ),
        (
            "one of two ID keys",
            |scene| {
                scene.put(0xe0, &[2; 48]);
                scene.policy.id_key_digests = vec![Bytes([1; 48]), Bytes([2; 48])];
            },
            &[],
            None,
        ),
        (
            "another ID key",
            |scene| {
                scene.put(0xe0, &[2; 47]);
                scene.policy.id_key_digests = vec![Bytes([1; 48]), Bytes([2; 48])];
            },
            &["id_key_digest"],
            Some(Class::Policy),
        ),
        (
            "an author key",
            |scene| {
                scene.put(0x48, &[1]);
                scene.put(0x110, &[3; 48]);
                scene.policy.author_key_digests = vec![Bytes([3; 48])];
            },
            &[],
            None,
        ),
        (
            "another author key",
            |scene| {
                scene.put(0x48, &[1]);
                scene.put(0x110, &[3; 48]);
                scene.policy.author_key_digests = vec![Bytes([4; 48])];
            },
            &["author_key_digest"],
            Some(Class::Policy),
        ),
        (
            "an author key that is not in use",
            |scene| {
                scene.put(0x110, &[3; 48]);
                scene.policy.author_key_digests = vec![Bytes([3; 48])];
            },
            &["author_key_digest"],
            Some(Class::Policy),
        ),
        (
            "another chip",
            |scene| scene.policy.chip_ids = vec![Bytes([1; 64])],
            &["allowed_chip_id"],
            Some(Class::Policy),
        ),
        (
            "this chip",
            |scene| {
                let mut chip = [0; 64];
                chip[..8].copy_from_slice(&CHIP[..8]);
                scene.policy.chip_ids = vec![Bytes([1; 64]), Bytes(chip)];
            },
            &[],
            None,
        ),
        (
            "a report of the host's",
            |scene| {
                scene.put(0x30, &[0xff; 4]);
                scene.policy.max_vmpl = u32::MAX;
            },
            &["vmpl"],
            Some(Class::Policy),
        ),
        (
            "a masked chip, and one by name",
            |scene| {
                scene.put(0x1a0, &[0; 64]);
                policy(
                    scene,
                    &format!(r#""allow_masked_chip_id": true, "chip_ids": ["{}"]"#, "01".repeat(64)),
                );
            },
            &["allowed_chip_id"],
            Some(Class::Policy),
        ),
        (
            "no ID key by its digest of zeros",
            |scene| scene.policy.author_key_digests = vec![Bytes([0; 48])],
            &["author_key_digest"],
            Some(Class::Policy),
        ),
    ];
    try_all(|| Scene::new(Product::Turin, 5), &cases);
}

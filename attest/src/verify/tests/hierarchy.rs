//! Who vouches for whom: roots, intermediates, kinds of keys, dates.

use super::fake::authority;
use super::*;
use crate::certificate::SignatureError;

#[test]
fn a_hierarchy_that_only_vouches_for_itself_is_refused() {
    for product in Product::ALL {
        let mut scene = Scene::new(product, 3);
        scene.hierarchy.sign(&mut scene.report);
        scene.given.push(scene.hierarchy.intermediate(product, "SEV-", |_| {}));
        scene.given.push(scene.hierarchy.root(product, |_| {}));
        assert_eq!(failed(&scene.judge_by(&scene.hierarchy.roots())), Vec::<&str>::new());
        let outcome = scene.judge_by(&Roots::amd());
        assert_eq!((failed(&outcome), outcome.failure()), (vec!["chain"], Some(Class::Chain)));
        // Under a name that AMD does not have.
        scene.said.issuer = "SEV-Other".to_owned();
        let other = |said: &mut Said| {
            said.subject = "SEV-Other".to_owned();
            said.issuer = "ARK-Other".to_owned();
        };
        scene.given = vec![scene.hierarchy.intermediate(product, "SEV-", other)];
        assert_eq!(failed(&scene.judge_by(&Roots::amd())), ["chain"]);
        assert_eq!(failed(&scene.judge_by(&scene.hierarchy.roots())), ["chain"]);
    }
}

#[test]
fn an_intermediate_may_be_given_where_a_root_has_signed_it() {
    let roots = |scene: &Scene| {
        let anchors = scene.hierarchy.roots().anchors().to_vec();
        let without =
            |anchor: crate::roots::Anchor| crate::roots::Anchor { intermediates: Vec::new(), ..anchor };
        Roots::of(anchors.into_iter().map(without).collect())
    };
    let give = |edit: fn(&mut Said)| {
        let mut scene = Scene::new(Product::Genoa, 3);
        scene.hierarchy.sign(&mut scene.report);
        scene.given.push(scene.hierarchy.intermediate(Product::Genoa, "SEV-", edit));
        failed(&scene.judge_by(&roots(&scene)))
    };
    assert_eq!(give(|_| {}), Vec::<&str>::new());
    assert_eq!(give(|said| said.extensions.clear()), ["chain"], "no authority");
    assert_eq!(give(|said| drop(said.extensions.remove(0))), ["chain"], "no use of its key");
    assert_eq!(give(|said| drop(said.extensions.remove(1))), ["chain"], "no constraints");
    assert_eq!(give(|said| said.issuer = "ARK-Milan".to_owned()), ["product"], "another root's name");
    assert_eq!(give(|said| said.to = "260101000000Z"), ["validity"]);
    let critical = |said: &mut Said| said.extensions.push(extension("2.5.29.30", true, &[0x30, 0]));
    assert_eq!(give(critical), ["chain"], "an extension that must be understood");
    let mut without = Scene::new(Product::Genoa, 3);
    without.hierarchy.sign(&mut without.report);
    assert_eq!(failed(&without.judge_by(&roots(&without))), ["chain"]);
}

/// All intermediates of the tests have one key: the name decides as well.
#[test]
fn an_issuer_is_known_by_name_and_by_key() {
    let scene = Scene::new(Product::Milan, 3);
    let key = scene.hierarchy.endorsed(&scene.said);
    let issuer = |product| scene.hierarchy.intermediate(product, "SEV-", |_| {});
    assert_eq!(key.verify_issued_by(&issuer(Product::Milan)), Ok(()));
    let named = SignatureError::Issuer { named: "SEV-Milan".to_owned(), given: "SEV-Genoa".to_owned() };
    assert_eq!(key.verify_issued_by(&issuer(Product::Genoa)), Err(named));
    let namesake = scene.hierarchy.root(Product::Milan, |said| said.subject = "SEV-Milan".to_owned());
    assert_eq!(key.verify_issued_by(&namesake), Err(SignatureError::Wrong));
    assert_eq!(
        key.verify_issued_by(&key).unwrap_err().to_string(),
        "it is issued by \"SEV-Milan\", not by \"SEV-VCEK\""
    );
}

#[test]
fn a_signing_key_signs_no_certificates() {
    let mut scene = Scene::new(Product::Milan, 3);
    scene.said.extensions.extend(authority());
    scene.said.subject = "SEV-Milan".to_owned();
    let outcome = scene.judge();
    assert_eq!(outcome.failure(), Some(Class::Chain));
}

/// Parameters other than AMD's are another algorithm.
#[test]
fn other_algorithms_are_none() {
    let scene = Scene::new(Product::Milan, 3);
    let der = scene.hierarchy.endorsed(&scene.said).der().to_vec();
    let issuer = scene.hierarchy.intermediate(Product::Milan, "SEV-", |_| {});
    // Salt, hash, mask, and the algorithm itself.
    for (known, other) in [
        (&[0xa2, 3, 2, 1, 48][..], &[0xa2, 3, 2, 1, 32][..]),
        (&[0x65, 3, 4, 2, 2], &[0x65, 3, 4, 2, 1]),
        (&[0x0d, 1, 1, 8], &[0x0d, 1, 1, 9]),
        (&[0x0d, 1, 1, 10], &[0x0d, 1, 1, 11]),
    ] {
        let places: Vec<_> = (0..der.len()).filter(|place| der[*place..].starts_with(known)).collect();
        assert!(places.len() >= 2, "{known:x?}");
        let mut changed = der.clone();
        for place in &places {
            // Where it is signed and behind, both the same.
            assert!(*place == places[0] || Certificate::parse(&changed).is_err(), "{other:x?}");
            changed[*place..*place + other.len()].copy_from_slice(other);
        }
        let changed = Certificate::parse(&changed).unwrap();
        assert_eq!(changed.verify_issued_by(&issuer), Err(SignatureError::Algorithm), "{other:x?}");
    }
}

#[test]
fn critical_extensions_of_a_key_must_be_understood() {
    let cases: [Case; 2] = [
        (
            "one that is not known",
            |scene| scene.said.extensions.push(extension("1.3.6.1.4.1.3704.9", true, &[5, 0])),
            &["chain"],
            Some(Class::Chain),
        ),
        (
            "one that may be passed over",
            |scene| scene.said.extensions.push(extension("1.3.6.1.4.1.3704.9", false, &[5, 0])),
            &[],
            None,
        ),
    ];
    try_all(|| Scene::new(Product::Milan, 3), &cases);
}

#[test]
fn certificates_hold_for_their_time() {
    let at = |text: &str, edit: fn(&mut Said)| {
        let mut scene = Scene::new(Product::Milan, 3);
        edit(&mut scene.said);
        scene.now = time::parse(text).unwrap();
        let outcome = scene.judge();
        (failed(&outcome), outcome.failure())
    };
    let refused = (vec!["validity"], Some(Class::Validity));
    assert_eq!(at("2025-12-31T23:59:59Z", |_| {}), refused);
    assert_eq!(at("2026-01-01T00:00:00Z", |_| {}).1, None);
    assert_eq!(at("2033-01-01T00:00:00Z", |_| {}).1, None);
    assert_eq!(at("2033-01-01T00:00:01Z", |_| {}), refused);
    // The intermediate ends in 2045.
    assert_eq!(at("2046-01-01T00:00:00Z", |said| said.to = "490101000000Z"), refused);
    assert_eq!(at("1970-01-01T00:00:00Z", |_| {}), refused);
}

/// Whoever asks AMD gets a new certificate of the same key.
#[test]
fn of_several_certificates_of_a_key_one_that_holds_counts() {
    let mut scene = Scene::new(Product::Milan, 3);
    let fresh = scene.hierarchy.endorsed(&scene.said);
    scene.said.to = "260601000000Z";
    scene.given = vec![fresh];
    assert_eq!(failed(&scene.judge()), Vec::<&str>::new());
    let mut scene = Scene::new(Product::Milan, 3);
    scene.said.to = "260601000000Z";
    let other = scene.hierarchy.endorsed(&Said { issuer: "SEV-Other".to_owned(), ..scene.said.clone() });
    scene.given = vec![other];
    assert_eq!(failed(&scene.judge()), ["validity"], "where none holds, the first");
}

#[test]
fn the_report_says_which_key_has_signed_it() {
    let cases: [Case; 7] = [
        (
            "a VLEK with a VCEK's certificate",
            |scene| scene.put(0x48, &[1 << 2]),
            &["signing_key"],
            Some(Class::Chain),
        ),
        ("nobody", |scene| scene.put(0x48, &[7 << 2]), &["signing_key"], Some(Class::Signature)),
        (
            "a key that is not known",
            |scene| scene.put(0x48, &[2 << 2]),
            &["signing_key"],
            Some(Class::Signature),
        ),
        ("a masked VCEK", |scene| scene.put(0x48, &[1 << 1]), &["signing_key"], Some(Class::Signature)),
        ("an author key says nothing of it", |scene| scene.put(0x48, &[1]), &[], None),
        (
            "another name",
            |scene| scene.said.subject = "SEV-VLEK".to_owned(),
            &["signing_key", "chain"],
            Some(Class::Chain),
        ),
        ("both trailers", |scene| scene.said.trailer = true, &[], None),
    ];
    for product in Product::ALL {
        try_all(|| Scene::new(product, 3), &cases);
    }
}

#[test]
fn a_vlek_is_taken_where_it_is_wanted() {
    let cases: [Case; 8] = [
        ("not wanted", |scene| scene.policy.allow_vlek = false, &["signing_key"], Some(Class::Policy)),
        ("without its issuer", |scene| scene.given.clear(), &["chain"], Some(Class::Chain)),
        (
            "of an issuer of VCEKs",
            |scene| scene.said.issuer = format!("SEV-{}", scene.product),
            &["signing_key", "chain"],
            Some(Class::Chain),
        ),
        (
            "a VCEK of an issuer of VLEKs",
            |scene| scene.said.subject = "SEV-VCEK".to_owned(),
            &["signing_key", "chain"],
            Some(Class::Chain),
        ),
        (
            "of another provider",
            |scene| scene.policy.csp_ids = vec!["CN=other.example".to_owned()],
            &["csp_id"],
            Some(Class::Policy),
        ),
        (
            "of this provider",
            |scene| scene.policy.csp_ids = vec!["CN=other.example".to_owned(), "CN=cloud.example".to_owned()],
            &[],
            None,
        ),
        (
            "of no provider",
            |scene| {
                scene.unsay("1.3.6.1.4.1.3704.1.5");
                scene.policy.csp_ids = vec!["CN=cloud.example".to_owned()];
            },
            &["csp_id"],
            Some(Class::Policy),
        ),
        ("of a host that masks the chip's key", |scene| scene.put(0x48, &[1 << 2 | 1 << 1]), &[], None),
    ];
    for product in Product::ALL {
        try_all(|| Scene::vlek(product), &cases);
    }
}

#[test]
fn a_report_without_a_signature_says_so() {
    let scene = Scene::new(Product::Milan, 3);
    let outcome = scene.judge_by(&scene.hierarchy.roots());
    assert_eq!(failed(&outcome), ["signature"]);
    assert_eq!(row(&outcome, "signature").actual, "none: the report is not signed");
}

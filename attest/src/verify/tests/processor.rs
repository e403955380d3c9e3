//! The processor: product, chip, and versions of firmware and microcode.

use super::*;
use crate::policy::Policy;

const HWID: &str = "1.3.6.1.4.1.3704.1.4";
const PRODUCT_NAME: &str = "1.3.6.1.4.1.3704.1.2";

#[test]
fn a_certificate_is_that_of_the_chip() {
    let cases: [Case; 5] = [
        (
            "as an OCTET STRING",
            |scene| {
                let chip = CHIP[..scene.product.hwid_length()].to_vec();
                scene.say(HWID, &tlv(0x04, &[&chip]));
            },
            &[],
            None,
        ),
        ("another chip", |scene| scene.put(0x1a0, &[1]), &["chip_id"], Some(Class::Chain)),
        ("no chip", |scene| scene.unsay(HWID), &["chip_id"], Some(Class::Chain)),
        ("half a chip", |scene| scene.say(HWID, &[0xc5; 4]), &["chip_id"], Some(Class::Chain)),
        (
            "too much of a chip",
            |scene| scene.say(HWID, &tlv(0x04, &[&[0xc5; 65]])),
            &["chip_id"],
            Some(Class::Chain),
        ),
    ];
    for product in Product::ALL {
        try_all(|| Scene::new(product, 3), &cases);
    }
}

/// Turin's chips have eight bytes: what else is in the field belongs to none.
#[test]
fn a_turin_has_zeros_behind_its_chip() {
    let cases: [Case; 2] = [
        ("a byte", |scene| scene.put(0x1a8, &[1]), &["chip_id"], Some(Class::Chain)),
        ("the last byte", |scene| scene.put(0x1df, &[1]), &["chip_id"], Some(Class::Chain)),
    ];
    try_all(|| Scene::new(Product::Turin, 3), &cases);
    let cases: [Case; 1] =
        [("a chip of eight bytes", |scene| scene.say(HWID, &[0xc5; 8]), &["chip_id"], Some(Class::Chain))];
    try_all(|| Scene::new(Product::Genoa, 3), &cases);
}

#[test]
fn report_certificate_and_root_are_of_one_product() {
    let cases: [Case; 6] = [
        ("a Turin", |scene| scene.put(0x188, &[0x1a, 0x02]), &["product"], Some(Class::Chain)),
        (
            "a processor that is not known",
            |scene| scene.put(0x188, &[0x1b, 0x02]),
            &["product"],
            Some(Class::Chain),
        ),
        (
            "a model that is not known",
            |scene| scene.put(0x188, &[0x19, 0x50]),
            &["product"],
            Some(Class::Chain),
        ),
        (
            "a certificate for a Genoa",
            |scene| scene.say(PRODUCT_NAME, &tlv(0x16, &[b"Genoa-B1"])),
            &["product"],
            Some(Class::Chain),
        ),
        (
            "a certificate for a Rome",
            |scene| scene.say(PRODUCT_NAME, &tlv(0x16, &[b"Rome"])),
            &["product"],
            Some(Class::Chain),
        ),
        ("a certificate for anything", |scene| scene.unsay(PRODUCT_NAME), &["product"], Some(Class::Chain)),
    ];
    try_all(|| Scene::new(Product::Milan, 3), &cases);
    let cases: [Case; 2] = [
        ("version 2 has no processor", |scene| scene.put(0x188, &[0x1a, 0x02]), &[], None),
        (
            "of version 2 the certificate decides",
            |scene| scene.say(PRODUCT_NAME, &tlv(0x16, &[b"Genoa-B1"])),
            &["product"],
            Some(Class::Chain),
        ),
    ];
    try_all(|| Scene::new(Product::Milan, 2), &cases);
    let cases: [Case; 1] = [(
        "a certificate for a Genoa, and a policy for Turins",
        |scene| {
            scene.say(PRODUCT_NAME, &tlv(0x16, &[b"Genoa-B1"]));
            scene.policy.products = vec![Product::Turin];
        },
        &["product"],
        Some(Class::Chain),
    )];
    try_all(|| Scene::new(Product::Milan, 2), &cases);
    let cases: [Case; 2] = [
        ("a Bergamo", |scene| scene.put(0x188, &[0x19, 0xa0]), &[], None),
        ("a Siena by name", |scene| scene.say(PRODUCT_NAME, &tlv(0x16, &[b"Siena"])), &[], None),
    ];
    try_all(|| Scene::new(Product::Genoa, 5), &cases);
}

/// The key is derived with one TCB version: any other byte of it is another key.
#[test]
fn the_key_stands_for_the_reported_version() {
    for product in Product::ALL {
        for place in 0..8 {
            let mut scene = Scene::new(product, 3);
            // Lower, so that the order holds.
            let lower = match scene.report[0x180 + place].checked_sub(1) {
                Some(lower) => lower,
                None => {
                    for tcb in [0x38, 0x1e0] {
                        scene.report[tcb + place] = 1;
                    }
                    1
                }
            };
            scene.report[0x180 + place] = lower;
            let outcome = scene.judge();
            let expected = (vec!["key_tcb"], Some(Class::Tcb));
            assert_eq!((failed(&outcome), outcome.failure()), expected, "{product}, byte {place}");
        }
        for component in ["1", "2", "3", "8"] {
            let mut scene = Scene::new(product, 3);
            scene.unsay(&format!("1.3.6.1.4.1.3704.1.3.{component}"));
            assert_eq!(failed(&scene.judge()), ["key_tcb"], "{product}, without component {component}");
        }
    }
    let mut scene = Scene::new(Product::Turin, 3);
    scene.unsay("1.3.6.1.4.1.3704.1.3.9");
    assert_eq!(failed(&scene.judge()), ["key_tcb"]);
}

#[test]
fn versions_have_an_order() {
    for product in Product::ALL {
        for place in 0..8 {
            // Reported above committed, and committed above current.
            for (raised, rows) in [(0x180, vec!["key_tcb", "tcb_order"]), (0x1e0, vec!["tcb_order"])] {
                let mut scene = Scene::new(product, 3);
                scene.report[raised + place] += 1;
                let outcome = scene.judge();
                let found = (failed(&outcome), outcome.failure());
                assert_eq!(found, (rows, Some(Class::Tcb)), "{product}, byte {place} of {raised:#x}");
            }
            let mut scene = Scene::new(product, 3);
            scene.report[0x38 + place] += 1;
            assert_eq!(failed(&scene.judge()), Vec::<&str>::new(), "{product}, current above");
        }
    }
}

#[test]
fn versions_can_be_too_old() {
    let minimum = |scene: &mut Scene, text: &str| {
        scene.policy =
            Policy::parse(format!(r#"{{"version": 1, "minimum_tcb": {text}}}"#).as_bytes()).unwrap();
    };
    let milan = [("bootloader", 4), ("tee", 1), ("snp", 24), ("microcode", 219)];
    for (raised, _) in milan.iter().chain([&("none", 0)]) {
        let fields =
            milan.map(|(name, number)| format!(r#""{name}": {}"#, number + u8::from(name == *raised)));
        let mut scene = Scene::new(Product::Milan, 3);
        minimum(&mut scene, &format!(r#"{{"milan": {{{}}}}}"#, fields.join(", ")));
        let rows: &[&str] = if *raised == "none" { &[] } else { &["minimum_tcb", "launch_tcb"] };
        assert_eq!(failed(&scene.judge()), rows, "{raised}");
    }
    let turin = r#"{"turin": {"fmc": 1, "bootloader": 2, "tee": 3, "snp": 4, "microcode": 81}}"#;
    let mut scene = Scene::new(Product::Turin, 5);
    minimum(&mut scene, turin);
    assert_eq!(failed(&scene.judge()), Vec::<&str>::new());
    let mut scene = Scene::new(Product::Turin, 5);
    scene.report[0x1f0 + 3] = 3;
    minimum(&mut scene, turin);
    assert_eq!(failed(&scene.judge()), ["launch_tcb"], "launched by older firmware");
    let mut scene = Scene::new(Product::Genoa, 5);
    minimum(&mut scene, turin);
    let outcome = scene.judge();
    assert_eq!(failed(&outcome), ["minimum_tcb", "launch_tcb"], "a product without a minimum");
    assert_eq!(outcome.failure(), Some(Class::Tcb));
}

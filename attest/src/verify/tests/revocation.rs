//! Lists of revoked certificates.

use super::fake::List;
use super::*;

fn with(product: Product, edit: impl FnOnce(&mut List)) -> Outcome {
    let mut scene = Scene::new(product, 3);
    let mut list = List::of(product);
    edit(&mut list);
    scene.crls.push(Crl::parse(&scene.hierarchy.crl(&list)).unwrap());
    scene.judge()
}

#[test]
fn lists_of_the_root_decide() {
    for product in Product::ALL {
        let outcome = with(product, |_| {});
        assert_eq!(failed(&outcome), Vec::<&str>::new());
        assert_eq!(row(&outcome, "crl").actual, "none of 2 revoked, to 2027-01-01T00:00:00Z");
        let refused = |name: &str, edit: fn(&mut List)| {
            let outcome = with(product, edit);
            assert_eq!((failed(&outcome), outcome.failure()), (vec!["crl"], Some(Class::Validity)), "{name}");
        };
        refused("the intermediate", |list| list.serials.push(vec![1, 0, 1]));
        refused("the root", |list| list.serials.push(vec![1, 0, 0]));
        refused("by another key", |list| list.forged = true);
        refused("too old", |list| list.to = "261101000000Z");
        refused("of the future", |list| list.from = "261123000000Z");
        refused("of another root", |list| list.issuer = "ARK-Naples".to_owned());
        refused("an old one that revokes", |list| {
            list.to = "260201000000Z";
            list.serials.push(vec![1, 0, 1]);
        });
        assert_eq!(failed(&with(product, |list| list.serials.clear())), Vec::<&str>::new(), "an empty one");
        assert_eq!(
            failed(&with(product, |list| list.extensions.clear())),
            Vec::<&str>::new(),
            "without a number"
        );
        let old = |list: &mut List| {
            list.old_form = true;
            list.extensions.clear();
        };
        assert_eq!(failed(&with(product, old)), Vec::<&str>::new(), "of version 1");
        // A key's serial number is 0 for all keys, and not the root's to revoke.
        assert_eq!(failed(&with(product, |list| list.serials.push(vec![0]))), Vec::<&str>::new());
    }
}

#[test]
fn of_several_lists_those_of_the_root_count() {
    let mut scene = Scene::new(Product::Turin, 5);
    let other = scene.hierarchy.crl(&List { serials: vec![vec![1, 0, 1]], ..List::of(Product::Milan) });
    scene.crls.push(Crl::parse(&other).unwrap());
    let own = scene.hierarchy.crl(&List::of(Product::Turin));
    scene.crls.push(Crl::parse(&own).unwrap());
    scene.policy.require_crl = true;
    assert_eq!(failed(&scene.judge()), Vec::<&str>::new());
    let mut scene = Scene::new(Product::Turin, 5);
    let own = scene.hierarchy.crl(&List::of(Product::Turin));
    scene.crls.push(Crl::parse(&own).unwrap());
    let revoking = scene.hierarchy.crl(&List { serials: vec![vec![1, 0, 1]], ..List::of(Product::Turin) });
    scene.crls.push(Crl::parse(&revoking).unwrap());
    assert_eq!(failed(&scene.judge()), ["crl"]);
}

#[test]
fn lists_with_rules_that_are_not_known_are_no_lists() {
    let hierarchy = fake::Hierarchy::new();
    let parse = |list: &List| Crl::parse(&hierarchy.crl(list)).map(|crl| crl.len());
    let critical = extension("2.5.29.28", true, &[0x30, 0]);
    assert_eq!(parse(&List::of(Product::Milan)), Ok(2));
    assert!(parse(&List { extensions: critical.clone(), ..List::of(Product::Milan) }).is_err());
    let entry = tlv(0x30, &[&critical]);
    assert!(parse(&List { entry_extensions: entry, ..List::of(Product::Milan) }).is_err());
    let reason = tlv(0x30, &[&extension("2.5.29.21", false, &[0x0a, 1, 1])]);
    assert_eq!(parse(&List { entry_extensions: reason, ..List::of(Product::Milan) }), Ok(2));
    let whole = hierarchy.crl(&List::of(Product::Milan));
    for length in 0..whole.len() {
        assert!(Crl::parse(&whole[..length]).is_err(), "{length} bytes");
    }
    assert!(Crl::parse(&[whole.as_slice(), &[0]].concat()).is_err());
}

//! Damaged lists of revoked certificates.

use ::fuzz::{Fuzz, shape};

use super::fake::{Hierarchy, List};
use super::*;

/// Bytes of a signature of the tests' roots.
const SIGNATURE: usize = 256;

#[test]
fn crl() {
    let hierarchy = Hierarchy::new();
    let list = List::of(Product::Milan);
    let sound = [hierarchy.crl(&list), hierarchy.crl(&List { serials: Vec::new(), ..list })];
    let root = hierarchy.root(Product::Milan, |_| {});
    let genuine = sound.clone();
    Fuzz::new("attest-crl", sound).iterations(10_000).run(|input| match Crl::parse(input) {
        Ok(crl) => {
            let signed = crl.verify_issued_by(&root).is_ok();
            // Each signature of the same is another one, and earlier runs have left theirs.
            let said = |list: &[u8]| list[..list.len() - SIGNATURE].to_vec();
            let same = || genuine.iter().any(|list| said(list) == said(input));
            assert!(!signed || same(), "a changed list with a right signature");
            shape((crl.len(), crl.issuer_name(), signed))
        }
        Err(error) => shape(error.kind().to_string()),
    });
}

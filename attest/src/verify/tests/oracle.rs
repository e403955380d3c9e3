//! The openssl command on the tests' own hierarchy: what the tests try is what others understand as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fake::List;
use super::*;

fn openssl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(arguments)
        .output()
        .expect("the tests need the openssl command (Debian: openssl); tests/install installs it");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Writes DER as PEM, which the command takes everywhere.
fn pem(dir: &Path, name: &str, kind: &str, der: &[u8]) -> PathBuf {
    let (raw, pem) = (dir.join(format!("{name}.der")), dir.join(format!("{name}.pem")));
    fs::write(&raw, der).unwrap();
    let done = openssl(&[kind, "-inform", "DER", "-in", text(&raw), "-out", text(&pem)]);
    assert!(done.0, "{name}: {}", done.1);
    pem
}

#[test]
fn openssl_reads_the_hierarchy_and_its_lists() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for scene in [Scene::new(Product::Turin, 5), Scene::vlek(Product::Milan)] {
        let hierarchy = &scene.hierarchy;
        let kind = scene.said.issuer.trim_end_matches(scene.product.name());
        let root = pem(dir, "root", "x509", hierarchy.root(scene.product, |_| {}).der());
        let other = pem(dir, "other", "x509", hierarchy.root(Product::Genoa, |_| {}).der());
        let intermediate = hierarchy.intermediate(scene.product, kind, |_| {});
        let intermediate = pem(dir, "intermediate", "x509", intermediate.der());
        let key = pem(dir, "key", "x509", hierarchy.endorsed(&scene.said).der());
        let verified = |root: &Path, more: &[&str]| {
            let chain =
                ["verify", "-attime", "1795305600", "-CAfile", text(root), "-untrusted", text(&intermediate)];
            openssl(&[&chain, more, &[text(&key)]].concat())
        };
        let chain = verified(&root, &[]);
        assert!(chain.0, "{}", chain.1);
        assert!(!verified(&other, &[]).0);

        let list = |list: &List| pem(dir, "list", "crl", &hierarchy.crl(list));
        let sound = list(&List::of(scene.product));
        let said = openssl(&["crl", "-in", text(&sound), "-CAfile", text(&root), "-verify", "-noout"]);
        assert!(said.0 && said.1.contains("verify OK"), "{}", said.1);
        let forged = list(&List { forged: true, ..List::of(scene.product) });
        let said = openssl(&["crl", "-in", text(&forged), "-CAfile", text(&root), "-verify", "-noout"]);
        assert!(said.1.contains("verify failure"), "{}", said.1);
    }
}

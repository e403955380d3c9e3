//! Bad input from the user's side of the CLI: a one-line cause, nothing half-written, and the next try works.

use std::fs;

use serde_json::json;
use tests::{Host, Registry, images};

/// A summon that must fail, leave no pod directory and not stand in the way of the next.
fn refused(host: &Host, image: &str) -> String {
    let pod = host.pod("pod");
    let error = host.refuse(&["summon", pod.name(), image]);
    assert!(!pod.path().exists(), "{} was left behind", pod.name());
    let good = host.summon(&[], &images::layout("busybox"), &["echo", "works"]);
    assert_eq!(good.run().good(), "works\n");
    error
}

#[test]
fn an_unknown_image_is_named() {
    let (host, registry) = (Host::empty(), Registry::start());
    let error = refused(&host, &registry.image("nobody/has-this:1"));
    assert!(error.contains("nobody/has-this"), "{error}");
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let error = refused(&Host::empty(), "127.0.0.1:1/busybox");
    assert!(error.contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_torn_archive_is_refused() {
    let host = Host::empty();
    let whole = fs::read(images::folder().join("busybox.docker.tar")).unwrap();
    let torn = host.folder().join("torn.tar");
    fs::write(&torn, &whole[..whole.len() / 2]).unwrap();
    let error = refused(&host, &format!("docker-archive:{}", torn.display()));
    assert!(error.contains("torn.tar"), "{error}");
}

#[test]
fn a_changed_layer_is_refused() {
    let host = Host::empty();
    let whole = fs::read(images::folder().join("edge.oci.tar")).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 0x40;
    let path = host.folder().join("changed.tar");
    fs::write(&path, changed).unwrap();
    let error = refused(&host, &format!("oci-archive:{}", path.display()));
    assert!(error.contains("sha256") || error.contains("digest") || error.contains("corrupt"), "{error}");
}

#[test]
fn a_pod_directory_that_is_there_is_kept() {
    let host = Host::shared();
    let pod = host.summon(&[], &images::layout("busybox"), &["echo", "kept"]);
    let error = host.refuse(&["summon", pod.name(), &images::layout("busybox")]);
    assert!(error.contains(pod.name()), "{error}");
    assert_eq!(pod.run().good(), "kept\n");
}

#[test]
fn a_half_made_or_foreign_pod_directory_is_not_run() {
    let host = Host::shared();
    let half = host.folder().join("half");
    fs::create_dir(&half).unwrap();
    let error = host.refuse(&["run", half.to_str().unwrap()]);
    assert!(error.contains("half"), "{error}");

    let pod = host.summon(&[], &images::layout("busybox"), &["true"]);
    let path = pod.path().join("launch.json");
    let mut launch: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    launch["version"] = json!(99);
    fs::write(&path, launch.to_string()).unwrap();
    let error = host.refuse(&["run", pod.name()]);
    assert!(error.contains("version") && error.contains("99"), "{error}");
}

#[test]
fn a_pod_file_with_a_wrong_field_is_refused_by_name() {
    let host = Host::empty();
    let file = host.folder().join("pod.json");
    fs::write(&file, json!({"contaners": []}).to_string()).unwrap();
    let pod = host.pod("pod");
    let error = host.refuse(&["summon", "--file", file.to_str().unwrap(), pod.name()]);
    assert!(error.contains("contaners"), "{error}");
    assert!(!pod.path().exists());
}

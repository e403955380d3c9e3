//! Registries with TLS. Loopback is not held to certificates, so the rest has an address of a network namespace.

use std::process::Command;

use image::{Origin, Registries, ResolveOptions};

use crate::sample::{Sample, failure, get, get_with, options, store};
use crate::server::Server;

/// An address for documentation (RFC 5737), which `tls/registry.pem` is for.
const ADDRESS: &str = "192.0.2.7";

#[test]
fn certificates_of_this_machine_are_not_checked() {
    let sample = Sample::of("tls");
    let server = Server::with_tls("127.0.0.1", &sample);
    let (_dir, store) = store();
    let found = get(&store, &format!("{}/a", server.host)).unwrap();
    assert_eq!((found.origin, found.image.id()), (Origin::Registry, sample.id()));
}

/// Runs the other half with some authorities' certificates, in a network namespace that has the address.
fn pull_elsewhere(half: &str, authorities: &str) {
    let script = format!(
        "ip link set lo up && ip address add {ADDRESS}/32 dev lo && \
         exec \"$0\" --exact --ignored --nocapture tls::{half}"
    );
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env("SSL_CERT_FILE", authorities)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && out.contains("1 passed"), "{out}{err}");
}

#[test]
fn other_machines_need_a_trusted_certificate() {
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/resolve/tls/authority.pem");
    pull_elsewhere("pull_from_a_trusted_registry", authority);
    pull_elsewhere("pull_from_registries_without_trust", "/dev/null");
}

#[test]
fn insecure_registries_need_none() {
    pull_elsewhere("pull_from_insecure_registries", "/dev/null");
}

#[test]
#[ignore = "a half of insecure_registries_need_none"]
fn pull_from_insecure_registries() {
    let sample = Sample::of("insecure");
    for server in [Server::with_tls(ADDRESS, &sample), Server::at(ADDRESS, &sample)] {
        for insecure in [server.host.as_str(), "192.0.2.0/24"] {
            let (_dir, store) = store();
            let registries =
                Registries { insecure: vec![insecure.parse().unwrap()], ..Registries::default() };
            let options = ResolveOptions { registries, ..options() };
            let found = get_with(&store, &format!("{}/a", server.host), &options).unwrap();
            assert_eq!(found.image.id(), sample.id());
        }
    }
}

#[test]
#[ignore = "a half of other_machines_need_a_trusted_certificate"]
fn pull_from_a_trusted_registry() {
    let sample = Sample::of("trusted");
    let server = Server::with_tls(ADDRESS, &sample);
    let (_dir, store) = store();
    assert_eq!(get(&store, &format!("{}/a", server.host)).unwrap().image.id(), sample.id());
}

#[test]
#[ignore = "a half of other_machines_need_a_trusted_certificate"]
fn pull_from_registries_without_trust() {
    let sample = Sample::of("untrusted");
    for server in [Server::with_tls(ADDRESS, &sample), Server::at(ADDRESS, &sample)] {
        let (_dir, store) = store();
        let error = failure(&store, get(&store, &format!("{}/a", server.host)));
        assert!(error.contains(&format!("cannot reach the registry {}", server.host)), "{error}");
        assert!(server.requests().is_empty(), "nothing is said without trust");
        println!("{error}");
    }
}

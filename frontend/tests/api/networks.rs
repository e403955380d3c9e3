//! `docker network`.

use crate::host::Host;

#[test]
fn networks_are_made_listed_and_removed() {
    let mut host = Host::start();
    let id = host.good(&[
        "network",
        "create",
        "--label",
        "team=a",
        "--subnet",
        "10.9.0.0/16",
        "--internal",
        "back",
    ]);
    assert_eq!(id.len(), 64);
    host.good(&["network", "create", "--ipv6", "front"]);
    host.resume();
    assert_eq!(host.good(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]).lines().count(), 5);
    let show = |name: &str, format: &str| host.good(&["network", "inspect", name, "--format", format]);
    assert_eq!(
        show("back", "{{.Id}} {{.Internal}} {{(index .IPAM.Config 0).Gateway}}"),
        format!("{id} true 10.9.0.1")
    );
    assert_eq!(show(&id[..12], "{{.Name}}"), "back");
    let configs = "{{range .IPAM.Config}}{{.Subnet}} {{end}}";
    let subnets = show("front", configs);
    assert!(subnets.starts_with("172.18.0.0/16 fd"), "{subnets}");
    assert_eq!(show("bridge", configs).trim(), "172.17.0.0/16");

    let list = |filter: &str| host.good(&["network", "ls", "--filter", filter, "--format", "{{.Name}}"]);
    assert_eq!(list("name=bac"), "back");
    assert_eq!(list("label=team=a"), "back");
    assert_eq!(list("type=custom"), list("dangling=true"));
    assert_eq!(list("driver=null"), "none");

    host.good(&["network", "rm", "back"]);
    assert!(host.good(&["network", "prune", "-f"]).contains("front"));
    assert_eq!(list("type=custom"), "");
    assert_eq!(list("type=builtin").lines().count(), 3);
}

#[test]
fn what_cannot_be_a_network_is_refused() {
    let host = Host::start();
    host.good(&["network", "create", "--subnet", "10.9.0.0/16", "back"]);
    for (arguments, words) in [
        (&["create", "back"][..], "network with name back already exists"),
        (&["create", "-d", "overlay", "x"], "could not find plugin overlay"),
        (&["create", "-d", "host", "x"], "only one instance of \"host\" network is allowed"),
        (&["create", "--subnet", "10.9.1.0/24", "x"], "Pool overlaps with other one on this address space"),
        (&["create", "--subnet", "10.0.0", "x"], "invalid CIDR address"),
        (
            &["create", "--subnet", "10.8.0.0/16", "--gateway", "10.7.0.1", "x"],
            "no matching subnet for gateway",
        ),
        (
            &["create", "--subnet", "10.8.0.0/16", "--ip-range", "10.7.0.0/24", "x"],
            "no matching subnet for range",
        ),
        (&["rm", "bridge"], "pre-defined network and cannot be removed"),
        (&["rm", "absent"], "network absent not found"),
        (&["inspect", "absent"], "network absent not found"),
        (&["connect", "back", "absent"], "No such container: absent"),
    ] {
        let mut all = vec!["network"];
        all.extend(arguments);
        let said = host.refused(&all);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(host.good(&["network", "ls", "-q", "--filter", "type=custom"]).lines().count(), 1);
}

//! `docker network`, and networks and ports of containers that do not run.

use std::time::SystemTime;

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
        (&["create", "default"], "operation is not permitted on predefined default network"),
        (&["create", "--subnet", "10.0.0", "x"], "invalid subnet 10.0.0: invalid CIDR block notation"),
        (&["create", "--subnet", "10.8.0.1/16", "x"], "invalid subnet 10.8.0.1/16: it should be 10.8.0.0/16"),
        (&["create", "--subnet", "127.0.0.0/8", "x"], "subnet 127.0.0.0/8 is not for hosts"),
        (
            &["create", "--subnet", "10.7.0.0/16", "--subnet", "10.8.0.0/16", "x"],
            "doesn't support multiple subnets",
        ),
        (
            &["create", "-o", "com.docker.network.driver.mtu=x", "x"],
            "failed to parse com.docker.network.driver.mtu",
        ),
        (&["create", "--config-only", "x"], "configuration only"),
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

#[test]
fn a_network_is_as_it_was_asked_for() {
    let host = Host::start();
    host.good(&[
        "network",
        "create",
        "--subnet",
        "10.9.0.0/16",
        "--ip-range",
        "10.9.4.0/24",
        "--gateway",
        "10.9.0.9",
        "--aux-address",
        "router=10.9.0.3",
        "--ipv6",
        "--subnet",
        "fd09::/64",
        "--attachable",
        "-o",
        "com.docker.network.driver.mtu=1400",
        "-o",
        "com.docker.network.bridge.enable_icc=false",
        "back",
    ]);
    let show = |format: &str| host.good(&["network", "inspect", "back", "--format", format]);
    assert_eq!(
        show("{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.Gateway}} {{.AuxAddress}};{{end}}"),
        "10.9.0.0/16 10.9.4.0/24 10.9.0.9 map[router:10.9.0.3];fd09::/64  fd09::1 map[];"
    );
    assert_eq!(show("{{.EnableIPv4}} {{.EnableIPv6}} {{.Attachable}} {{.Scope}}"), "true true true local");
    let id = show("{{.Id}}");
    let file = host.path("state/networks").join(&id).join("network.json");
    let told = std::fs::read_to_string(&file).unwrap();
    for words in
        [r#""mtu":1400"#, r#""isolated":true"#, r#""reserved":["10.9.0.3"]"#, r#""range":"10.9.4.0/24""#]
    {
        assert!(told.contains(words), "{told}");
    }
    host.good(&["network", "rm", "back"]);
    assert!(!file.parent().unwrap().exists());
    // The client cuts times to seconds.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let until = (now + 1).to_string();
    let events =
        ["events", "--since", "1h", "--until", &until, "--filter", "network=back", "--format", "{{.Action}}"];
    let events = host.good(&events);
    assert_eq!(events, "create\ndestroy");
}

#[test]
fn directories_of_networks_follow_their_records() {
    let mut host = Host::start();
    let id = host.good(&["network", "create", "back"]);
    let networks = host.path("state/networks");
    let stranger = networks.join("ab".repeat(32));
    std::fs::create_dir(&stranger).unwrap();
    std::fs::remove_dir_all(networks.join(&id)).unwrap();
    host.resume();
    assert!(!stranger.exists());
    assert!(networks.join(&id).join("network.json").exists());
    // That of the default network too.
    assert_eq!(std::fs::read_dir(networks).unwrap().count(), 2);
}

#[test]
fn containers_that_do_not_run_are_connected_and_disconnected() {
    let mut host = Host::with_image();
    for (name, subnet) in [("back", "10.9.0.0/16"), ("front", "10.8.0.0/16")] {
        host.good(&["network", "create", "--subnet", subnet, name]);
    }
    host.good(&[
        "create",
        "--name",
        "web",
        "--network",
        "name=back,alias=shop,ip=10.9.0.7",
        "--network",
        "front",
        "made:1",
    ]);
    let networks = |host: &Host| {
        host.good(&[
            "inspect",
            "web",
            "--format",
            "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}",
        ])
    };
    assert_eq!(networks(&host), "back front ");
    let back = "{{with .NetworkSettings.Networks.back}}{{.Aliases}} {{.DNSNames}} {{.IPAMConfig.IPv4Address}} {{.IPAddress}}{{end}}";
    let id = host.good(&["inspect", "web", "--format", "{{slice .Id 0 12}}"]);
    assert_eq!(host.good(&["inspect", "web", "--format", back]), format!("[shop] [web shop {id}] 10.9.0.7 "));
    host.good(&["network", "disconnect", "back", "web"]);
    host.good(&["network", "connect", "--alias", "again", "back", "web"]);
    // A second time is as good as none.
    host.good(&["network", "connect", "back", "web"]);
    host.good(&["network", "connect", "bridge", "web"]);
    host.good(&["network", "disconnect", "front", "web"]);
    host.resume();
    assert_eq!(networks(&host), "back bridge ");
    assert_eq!(
        host.good(&["inspect", "web", "--format", "{{.NetworkSettings.Networks.back.Aliases}}"]),
        "[again]"
    );
    for (arguments, words) in [
        (&["disconnect", "front", "web"][..], "is not connected to the network front"),
        (&["connect", "none", "web"], "private (none) mode"),
        (&["connect", "host", "web"], "cannot connect container to host network"),
        (
            &["connect", "--ip", "10.9.9.9", "front", "web"],
            "no configured subnet contains IP address 10.9.9.9",
        ),
        (&["connect", "--link", "db:db", "front", "web"], "links are not supported"),
    ] {
        let mut all = vec!["network"];
        all.extend(arguments);
        let said = host.refused(&all);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    for filter in ["network=back", "network=bridge"] {
        assert_eq!(host.good(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]), "web");
    }
    assert_eq!(host.good(&["ps", "-aq", "--filter", "network=front"]), "");
    // Nothing runs on it.
    host.good(&["network", "rm", "front"]);
    host.good(&["network", "disconnect", "--force", "back", "gone"]);
}

#[test]
fn ports_and_networks_of_containers_are_checked() {
    let host = Host::with_image();
    host.good(&["network", "create", "--subnet", "10.9.0.0/16", "back"]);
    for (arguments, words) in [
        (&["--network", "host"][..], "a microVM has a network stack of its own"),
        (&["--network", "container:x"], "containers cannot share a network stack"),
        (&["--network", "back", "--ip", "10.8.0.1"], "no configured subnet contains IP address 10.8.0.1"),
        (&["--ip", "172.17.0.9"], "supported on user-defined networks only"),
        (&["-p", "80:80/sctp"], "only tcp and udp can be published"),
    ] {
        let mut all = vec!["create"];
        all.extend(arguments);
        all.push("made:1");
        let said = host.refused(&all);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(host.good(&["ps", "-aq"]), "");
    // As in Docker, a network is looked for when the container is started.
    host.good(&["create", "--name", "early", "--network", "absent", "made:1"]);
    assert!(host.refused(&["start", "early"]).contains("network absent not found"));
    assert_eq!(host.good(&["inspect", "early", "--format", "{{.State.Status}}"]), "created");
    host.good(&[
        "create",
        "--name",
        "web",
        "-p",
        "8000-8001:80-81",
        "-p",
        "53/udp",
        "--expose",
        "9000",
        "made:1",
    ]);
    let show = |format: &str| host.good(&["inspect", "web", "--format", format]);
    assert_eq!(show("{{(index (index .HostConfig.PortBindings \"81/tcp\") 0).HostPort}}"), "8001");
    assert_eq!(show("{{len .Config.ExposedPorts}} {{len .NetworkSettings.Ports}}"), "4 0");
    for (filter, found) in [("expose=9000", "web"), ("publish=53/udp", "web"), ("publish=9000", "")] {
        assert_eq!(host.good(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]), found, "{filter}");
    }
}

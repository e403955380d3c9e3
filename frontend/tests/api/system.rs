//! Ping, version, info, events; swarm and plugins.

use std::time::SystemTime;

use crate::host::Host;

#[test]
fn the_client_knows_whom_it_speaks_to() {
    let host = Host::start();
    assert_eq!(
        host.good(&["version", "--format", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}}"]),
        "1.50 1.24"
    );
    let info = host.good(&[
        "info",
        "--format",
        "{{.Containers}} {{.Images}} {{.OSType}} {{.Swarm.LocalNodeState}} {{.Driver}}",
    ]);
    assert_eq!(info, "0 0 linux inactive overlay2");
    let (code, out, err) = host.run(&["info"]);
    assert!(code == 0 && !err.contains("ERROR"), "{out}{err}");
}

#[test]
fn the_daemon_keeps_its_id() {
    let mut host = Host::start();
    let id = host.good(&["info", "--format", "{{.ID}}"]);
    assert_eq!(id.len(), 64);
    host.resume();
    assert_eq!(host.good(&["info", "--format", "{{.ID}}"]), id);
}

#[test]
fn events_are_told_once_and_outlive_the_daemon() {
    let mut host = Host::start();
    host.good(&["volume", "create", "data"]);
    host.good(&["network", "create", "front"]);
    host.resume();
    host.good(&["volume", "rm", "data"]);
    let events = |arguments: &[&str]| {
        // The client cuts times to seconds: the next one is behind all that has happened.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let until = (now + 1).to_string();
        let mut all =
            vec!["events", "--since", "10m", "--until", &until, "--format", "{{.Type}} {{.Action}}"];
        all.extend(arguments);
        host.good(&all).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(events(&[]), ["volume create", "network create", "volume destroy"]);
    assert_eq!(events(&["--filter", "type=volume"]), ["volume create", "volume destroy"]);
    assert_eq!(events(&["--filter", "volume=data", "--filter", "event=destroy"]), ["volume destroy"]);
    assert_eq!(events(&["--filter", "network=front"]), ["network create"]);
    assert_eq!(events(&["--filter", "label=x"]), [""; 0]);
}

#[test]
fn there_is_no_swarm_and_there_are_no_plugins() {
    let host = Host::start();
    assert!(host.refused(&["service", "ls"]).contains("This node is not a swarm manager"));
    assert!(host.refused(&["node", "ls"]).contains("This node is not a swarm manager"));
    assert!(host.refused(&["swarm", "init"]).contains("runs no swarms"));
    assert_eq!(host.good(&["plugin", "ls", "-q"]), "");
    assert!(host.refused(&["inspect", "absent"]).contains("No such object: absent"));
}

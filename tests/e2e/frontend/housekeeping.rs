//! A host of some containers, images and volumes: what it counts, what prunes take, what leaves it and comes back, and what
//! runs after the daemon was away.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use tests::{Daemon, Host, Registry};

#[test]
fn what_is_there_is_counted_and_what_is_unused_goes() {
    let host = Host::empty();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    docker.good(&["run", "-d", "--name", "runs", "-v", "kept:/data", "busybox", "sleep", "1000"]);
    let file = host.folder().join("cid");
    let written =
        ["run", "--cidfile", file.to_str().unwrap(), "--name", "ended", "-v", "/own", "busybox", "true"];
    docker.good(&written);
    let id = std::fs::read_to_string(&file).unwrap();
    assert_eq!(docker.good(&["ps", "-aq", "--no-trunc", "--filter", "name=ended"]).trim(), id);
    docker.good(&["network", "create", "unused"]);
    docker.good(&["volume", "create", "unused"]);

    let counted = || docker.good(&["system", "df", "--format", "{{.Type}}: {{.TotalCount}} {{.Active}}"]);
    assert_eq!(counted(), "Images: 1 1\nContainers: 2 1\nLocal Volumes: 3 2\nBuild Cache: 0 0\n");
    let detailed = docker.good(&["system", "df", "-v"]);
    assert!(detailed.contains("runs") && detailed.contains("kept"), "{detailed}");

    let pruned = docker.good(&["system", "prune", "-f"]);
    assert!(
        pruned.contains(&id) && pruned.contains("unused") && pruned.contains("Total reclaimed space: "),
        "{pruned}"
    );
    assert_eq!(docker.good(&["ps", "-a", "--format", "{{.Names}}"]), "runs\n");
    assert_eq!(docker.good(&["network", "ls", "-q", "--filter", "type=custom"]), "");
    // Without a word for it no volume goes that has a name.
    assert_eq!(counted(), "Images: 1 1\nContainers: 1 1\nLocal Volumes: 3 1\nBuild Cache: 0 0\n");
    docker.good(&["volume", "prune", "-f", "--all"]);
    assert_eq!(docker.good(&["volume", "ls", "-q"]), "kept\n");
}

#[test]
fn images_go_to_others_and_come_back() {
    let host = Host::empty();
    let daemon = Daemon::with_busybox(&host);
    let (docker, registry) = (daemon.docker(), Registry::empty());
    let id = docker.good(&["images", "-q", "--no-trunc", "busybox"]);
    let path = |name: &str| host.folder().join(name).to_str().unwrap().to_owned();
    docker.good(&["save", "-o", &path("saved.tar"), "busybox"]);
    let skopeo = |from: String, to: String| {
        let output = Command::new("skopeo").args(["copy", &from, &to]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    skopeo(format!("docker-archive:{}", path("saved.tar")), format!("oci:{}:there", path("layout")));
    skopeo(format!("oci:{}:there", path("layout")), format!("docker-archive:{}:back:1", path("back.tar")));
    docker.good(&["load", "-q", "-i", &path("back.tar")]);
    assert_eq!(docker.good(&["run", "--rm", "back:1", "echo", "returned"]), "returned\n");

    let name = registry.image("library/busybox:mine");
    docker.good(&["tag", "busybox", &name]);
    docker.good(&["push", "-q", &name]);
    docker.good(&["rmi", &name]);
    docker.good(&["pull", "-q", &name]);
    assert_eq!(docker.good(&["images", "-q", "--no-trunc", &name]), id);
}

#[test]
fn policies_are_kept_while_the_daemon_is_away() {
    let host = Host::shared();
    let mut daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    for name in ["stopped", "killed"] {
        docker.good(&[
            "run",
            "-d",
            "--name",
            name,
            "--restart",
            "unless-stopped",
            "busybox",
            "sleep",
            "1000",
        ]);
    }
    docker.good(&["stop", "-t", "0", "stopped"]);
    let pid = docker.good(&["inspect", "--format", "{{.State.Pid}}", "killed"]);
    daemon.kill();
    // Its machine goes with nobody there.
    assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    daemon.again();
    let starts = ["events", "--since", "1h", "--filter", "container=killed", "--filter", "event=start"];
    let mut starts = docker.command(&starts).stdout(Stdio::piped()).spawn().unwrap();
    // The client's, and the policy's.
    let told = BufReader::new(starts.stdout.take().unwrap()).lines().take(2).count();
    starts.kill().unwrap();
    starts.wait().unwrap();
    assert_eq!(told, 2);
    assert_eq!(docker.shell("killed", "echo again"), "again\n");
    assert_eq!(docker.good(&["inspect", "--format", "{{.State.Status}}", "stopped"]), "exited\n");
}

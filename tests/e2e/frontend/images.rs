//! Images and the containers of them: commit, removal of what is used, archives and a registry.

use tests::{Daemon, Host, Registry};

#[test]
fn a_container_becomes_an_image() {
    // Other tests give the image names of their own.
    let host = Host::empty();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    let script = "echo one >/one; rm /bin/vi; mkdir /d; ln -s /one /d/link; sleep 1000";
    docker
        .good(&["run", "-d", "--name", "web", "-e", "X=1", "--label", "l=1", "busybox", "sh", "-c", script]);
    docker.shell("web", "until test -L /d/link; do sleep 0.1; done");
    let changes = ["-c", "CMD [\"cat\", \"/d/link\"]", "-c", "LABEL m=2", "-m", "by hand"];
    docker.good(&[&["commit"], &changes[..], &["web", "made:1"]].concat());
    // It was frozen for it, and goes on.
    assert_eq!(docker.shell("web", "echo still"), "still\n");
    assert_eq!(docker.good(&["run", "--rm", "made:1"]), "one\n");
    let shown = docker.good(&["run", "--rm", "made:1", "sh", "-c", "test -e /bin/vi || echo $X gone"]);
    assert_eq!(shown, "1 gone\n");
    let template = "{{.Config.Labels}} {{.Comment}} {{len .RootFS.Layers}}";
    assert_eq!(docker.good(&["image", "inspect", "-f", template, "made:1"]), "map[l:1 m:2] by hand 2\n");

    // What a container uses stays, its name goes by force alone.
    assert!(docker.refused(&["rmi", "busybox"], 1).contains("(must force) - container"));
    docker.good(&["rmi", "-f", "busybox"]);
    docker.good(&["kill", "web"]);
    // Its image has no name any more, and its machine does not run.
    docker.good(&["commit", "web", "made:2"]);
    assert_eq!(docker.good(&["run", "--rm", "made:2", "cat", "/d/link"]), "one\n");

    let file = host.folder().join("saved.tar");
    let file = file.to_str().unwrap();
    docker.good(&["save", "-o", file, "made:2"]);
    docker.good(&["rm", "web"]);
    docker.good(&["rmi", "made:1", "made:2"]);
    docker.good(&["image", "prune", "-f"]);
    assert_eq!(docker.good(&["images", "-aq"]), "");
    assert_eq!(docker.good(&["load", "-q", "-i", file]), "Loaded image: made:2\n");
    assert_eq!(docker.good(&["run", "--rm", "made:2", "cat", "/one"]), "one\n");
}

#[test]
fn a_container_runs_of_an_image_that_is_pulled_for_it() {
    let (host, registry) = (Host::shared(), Registry::start());
    let daemon = Daemon::start(&host);
    let docker = daemon.docker();
    let image = registry.image("busybox:latest");
    assert_eq!(docker.good(&["run", "--rm", &image, "echo", "pulled"]), "pulled\n");
    // The store is the host's: the same image may have names of other tests' registries.
    let digests = docker.good(&["image", "inspect", "-f", "{{join .RepoDigests \"\\n\"}}", &image]);
    let own = format!("{}@sha256:", image.trim_end_matches(":latest"));
    assert_eq!(digests.lines().filter(|digest| digest.starts_with(&own)).count(), 1, "{digests}");
    let absent = registry.image("absent:1");
    let said = docker.refused(&["run", "--rm", &absent], 125);
    assert!(said.contains(&format!("manifest for {absent} not found")), "{said}");
}

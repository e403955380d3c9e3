//! `docker ps`, `version`, `info` and other lists.

use crate::pod::{Pod, spec_json};

/// A web server that runs, a job that failed, one that cannot be started.
fn three() -> Pod {
    let mut web = spec_json("web", &["sleep", "1000"]);
    web["mounts"] = serde_json::json!([
        { "guestPath": "/data", "source": { "anonymous": { "name": "web-data" } } },
        { "guestPath": "/tmp", "source": { "tmpfs": { "size": 1024, "mode": 1023, "exec": false } } },
    ]);
    let mut job = spec_json("job", &["sh", "-c", "exit 3"]);
    job["labels"] = serde_json::json!({ "tier": "back" });
    let pod = Pod::start(vec![web, job, spec_json("missing", &["no-such-program"])]);
    pod.wait("job");
    pod
}

fn names(pod: &Pod, arguments: &[&str]) -> Vec<String> {
    let arguments = [&["ps", "--format", "{{.Names}}"], arguments].concat();
    pod.ok(&arguments).lines().map(str::to_owned).collect()
}

#[test]
fn ps_shows_what_runs() {
    let pod = three();
    let table = pod.ok(&["ps"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[0].starts_with("CONTAINER ID   IMAGE       COMMAND        CREATED"), "{table}");
    assert!(lines[1].starts_with("000000000000   busybox:1   \"sleep 1000\"   "), "{table}");
    assert!(lines[1].contains("Up ") && lines[1].ends_with("web"), "{table}");
    assert_eq!(pod.ok(&["ps", "-q", "--no-trunc"]), format!("{}\n", "0".repeat(64)));
}

#[test]
fn ps_shows_all_and_the_latest() {
    let pod = three();
    assert_eq!(names(&pod, &["-a"]), ["missing", "job", "web"]);
    assert_eq!(names(&pod, &["-n", "2"]), ["missing", "job"]);
    assert_eq!(names(&pod, &["-l"]), ["missing"]);
    let status = pod.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}"]);
    assert!(
        status.contains("job exited Exited (3) ") && status.contains("missing created Created"),
        "{status}"
    );
}

#[test]
fn ps_filters() {
    let pod = three();
    for (filters, wanted) in [
        (&["name=we"][..], &["web"][..]),
        (&["name=^/?job$"], &["job"]),
        (&["name=^jo$"], &[]),
        (&["id=111"], &["job"]),
        (&["label=tier"], &["missing", "job", "web"]),
        (&["label=tier=front"], &["missing", "web"]),
        (&["label=tier=front", "label=empty"], &["missing", "web"]),
        (&["status=running"], &["web"]),
        (&["status=running", "status=exited"], &["job", "web"]),
        (&["exited=3"], &["job"]),
        (&["exited=0"], &[]),
        (&["health=none"], &["missing", "job", "web"]),
        (&["health=healthy"], &[]),
        (&["ancestor=busybox:1"], &["missing", "job", "web"]),
        (&["ancestor=docker.io/library/busybox:1"], &["missing", "job", "web"]),
        (&["ancestor=busybox"], &[]),
        (&["before=job"], &["web"]),
        (&["since=job"], &["missing"]),
        (&["volume=web-data"], &["web"]),
        (&["volume=/data"], &["web"]),
        (&["network=host"], &["missing", "job", "web"]),
        (&["network=bridge"], &[]),
        (&["is-task=true"], &[]),
        (&["publish=80"], &[]),
    ] {
        let mut arguments = vec!["-a"];
        arguments.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
        assert_eq!(names(&pod, &arguments), wanted, "{filters:?}");
    }
    assert_eq!(names(&pod, &["--filter", "status=exited"]), ["job"], "a status shows those that do not run");
    assert_eq!(names(&pod, &["--filter", "label=tier"]), ["web"], "a label does not");
}

#[test]
fn ps_refuses_filters_that_make_no_sense() {
    let pod = three();
    for (filter, words) in [
        ("colour=red", "invalid filter 'colour'"),
        ("status=busy", "invalid filter 'status=busy'"),
        ("exited=x", "invalid filter 'exited=x'"),
        ("health=fine", "invalid filter 'health=fine'"),
        ("name=(", "invalid filter 'name=('"),
        ("before=nobody", "No such container: nobody"),
    ] {
        let done = pod.docker(&["ps", "--filter", filter]);
        assert!(done.code == 1 && done.stderr.contains(words), "{filter}: {done:?}");
    }
}

#[test]
fn ps_tells_sizes_and_everything_else() {
    let pod = three();
    assert_eq!(pod.ok(&["ps", "--format", "{{.Size}}"]), "1kB (virtual 5MB)\n");
    assert_eq!(pod.ok(&["ps", "-s"]).lines().next().unwrap().split_whitespace().last(), Some("SIZE"));
    let line: serde_json::Value = serde_json::from_str(&pod.ok(&["ps", "--format", "json"])).unwrap();
    for (field, value) in [
        ("Names", "web"),
        ("Image", "busybox:1"),
        ("Command", "\"sleep 1000\""),
        ("ID", "000000000000"),
        ("Labels", "empty=,tier=front"),
        ("LocalVolumes", "1"),
        ("Mounts", "web-data"),
        ("Networks", "host"),
        ("Ports", ""),
        ("State", "running"),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
}

#[test]
fn version_and_info() {
    let pod = three();
    assert_eq!(
        pod.ok(&["version", "--format", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}}"]),
        "1.50 1.24\n"
    );
    assert_eq!(pod.ok(&["version", "--format", "{{.Server.KernelVersion}}"]), "6.12.0-fake\n");
    let info = pod.ok(&["info"]);
    for line in [
        "Containers: 3",
        "Running: 1",
        "Stopped: 2",
        "Images: 1",
        "CPUs: 2",
        "Total Memory: 512MiB",
        "Name: pod",
    ] {
        assert!(info.lines().any(|have| have.trim() == line), "no {line:?} in {info}");
    }
    assert_eq!(pod.ok(&["info", "--format", "{{.ID}}"]), format!("{}\n", "5e".repeat(32)));
}

#[test]
fn older_versions_are_spoken() {
    let pod = three();
    for version in ["1.24", "1.30", "1.41", "1.44"] {
        let mut command = pod.command(&["ps", "-q"]);
        let done = crate::pod::Done::from(command.env("DOCKER_API_VERSION", version).output().unwrap());
        assert_eq!((done.code, done.stdout.as_str()), (0, "000000000000\n"), "{version}: {}", done.stderr);
    }
    let mut command = pod.command(&["ps"]);
    let done = crate::pod::Done::from(command.env("DOCKER_API_VERSION", "1.51").output().unwrap());
    assert!(done.code == 1 && done.stderr.contains("client version 1.51 is too new"), "{done:?}");
}

#[test]
fn other_lists_are_sane() {
    let pod = three();
    assert_eq!(
        pod.ok(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]),
        "busybox:1 abababababab\n"
    );
    assert_eq!(pod.ok(&["volume", "ls", "-q"]), "web-data\n");
    assert_eq!(pod.ok(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]), "host host\n");
    assert_eq!(pod.ok(&["plugin", "ls", "-q"]), "");
    let done = pod.docker(&["service", "ls"]);
    assert!(done.code == 1 && done.stderr.contains("not a swarm manager"), "{done:?}");
}

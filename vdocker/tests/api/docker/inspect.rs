//! `docker inspect`, `top`, `diff` and `stats`.

use serde_json::{Value, json};

use crate::pod::{Pod, spec_json};

fn inspect(pod: &Pod, name: &str) -> Value {
    let mut all: Vec<Value> = serde_json::from_str(&pod.ok(&["inspect", name])).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn inspect_tells_what_a_container_is() {
    let mut spec = spec_json("web", &["sh", "-c", "sleep 1000"]);
    spec["process"]["user"] = json!("33:33");
    spec["process"]["workdir"] = json!("/srv");
    spec["process"]["rlimits"] = json!([{ "name": "RLIMIT_NOFILE", "soft": 10, "hard": u64::MAX }]);
    spec["lifecycle"] = json!({ "restartOnFailure": true, "maxRestarts": 4 });
    spec["limits"] = json!({ "memory": 67_108_864, "pids": 10, "cpuMillis": 1500 });
    spec["mounts"] = json!([
        { "guestPath": "/data", "source": { "anonymous": { "name": "v" } }, "readOnly": true },
        { "guestPath": "/tmp", "source": { "tmpfs": { "size": 1024, "mode": 1023, "exec": false } } },
    ]);
    let pod = Pod::start(vec![spec]);
    let about = inspect(&pod, "web");
    let pointers = [
        ("/Id", json!("0".repeat(64))),
        ("/Name", json!("/web")),
        ("/Path", json!("sh")),
        ("/Args", json!(["-c", "sleep 1000"])),
        ("/State/Status", json!("running")),
        ("/State/Running", json!(true)),
        ("/State/FinishedAt", json!("0001-01-01T00:00:00Z")),
        ("/State/Health", Value::Null),
        ("/Image", json!(format!("sha256:{}", "ab".repeat(32)))),
        ("/HostConfig/Memory", json!(67_108_864)),
        ("/HostConfig/PidsLimit", json!(10)),
        ("/HostConfig/NanoCpus", json!(1_500_000_000)),
        ("/HostConfig/RestartPolicy", json!({ "Name": "on-failure", "MaximumRetryCount": 3 })),
        ("/HostConfig/CapAdd", json!(["CAP_SYS_ADMIN"])),
        ("/HostConfig/CapDrop/0", json!("CAP_DAC_OVERRIDE")),
        ("/HostConfig/Tmpfs", json!({ "/tmp": "rw,noexec,size=1024,mode=1777" })),
        ("/HostConfig/Ulimits", json!([{ "Name": "nofile", "Hard": -1, "Soft": 10 }])),
        ("/HostConfig/NetworkMode", json!("host")),
        ("/Config/User", json!("33:33")),
        ("/Config/WorkingDir", json!("/srv")),
        ("/Config/Env", json!(["A=b"])),
        ("/Config/Labels", json!({ "tier": "front", "empty": "" })),
        ("/Config/Image", json!("busybox:1")),
        ("/Config/StopSignal", json!("SIGTERM")),
        ("/Config/Volumes", json!({ "/data": {} })),
        ("/Mounts/0/Name", json!("v")),
        ("/Mounts/0/RW", json!(false)),
        ("/NetworkSettings/Networks/host/NetworkID", json!("host")),
    ];
    for (pointer, value) in pointers {
        assert_eq!(about.pointer(pointer).unwrap_or(&Value::Null), &value, "{pointer}");
    }
    assert!(about["State"]["Pid"].as_u64().unwrap() > 0 && about.get("SizeRw").is_none());
}

#[test]
fn containers_have_several_names() {
    let pod = Pod::start(vec![spec_json("web", &["sleep", "1000"]), spec_json("1111", &["sleep", "1000"])]);
    for (name, found) in [
        ("web", "/web"),
        ("/web", "/web"),
        ("container.0", "/web"),
        ("0", "/web"),
        ("000000000000", "/web"),
        ("container.1", "/1111"),
        ("1111", "/1111"),
        ("11", "/1111"),
        ("cradle", "/cradle"),
        ("host", "/cradle"),
    ] {
        assert_eq!(pod.ok(&["inspect", "--format", "{{.Name}}", name]).trim(), found, "{name}");
    }
    let done = pod.docker(&["inspect", "nobody"]);
    assert!(done.code == 1 && done.stderr.contains("No such object: nobody"), "{done:?}");
}

#[test]
fn inspect_tells_of_ends_and_failures() {
    let pod = Pod::start(vec![
        spec_json("job", &["sh", "-c", "exit 3"]),
        spec_json("missing", &["no-such-program"]),
    ]);
    pod.wait("job");
    let format = "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.Pid}}";
    assert_eq!(pod.ok(&["inspect", "--format", format, "job"]), "exited 3 false 0\n");
    let missing = inspect(&pod, "missing");
    assert_eq!(
        (&missing["State"]["Status"], &missing["State"]["ExitCode"]),
        (&json!("created"), &json!(127))
    );
    assert!(missing["State"]["Error"].as_str().unwrap().contains("executable file not found in $PATH"));
}

#[test]
fn inspect_tells_sizes_where_asked() {
    let pod = Pod::of(&["sleep", "1000"]);
    assert_eq!(
        pod.ok(&["inspect", "--size", "--format", "{{.SizeRw}} {{.SizeRootFs}}", "web"]),
        "1000 5000000\n"
    );
}

#[test]
fn top_shows_processes() {
    let pod = Pod::of(&["sleep", "1000"]);
    let table = pod.ok(&["top", "web"]);
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert_eq!(lines[1][lines[1].len() - 2..], ["sleep", "1000"]);
    let pid = pod.ok(&["inspect", "--format", "{{.State.Pid}}", "web"]);
    assert_eq!(
        pod.ok(&["top", "web", "-o", "pid,comm"]).split_whitespace().collect::<Vec<_>>(),
        ["PID", "COMMAND", pid.trim(), "sleep"]
    );
    assert!(pod.ok(&["top", "web", "aux"]).starts_with("USER"));
    let done = pod.docker(&["top", "web", "--forest"]);
    assert!(done.code == 1 && done.stderr.contains("\"--forest\" is not known"), "{done:?}");
}

#[test]
fn top_needs_a_running_container() {
    let pod = Pod::of(&["true"]);
    pod.wait("web");
    let done = pod.docker(&["top", "web"]);
    assert!(done.code == 1 && done.stderr.contains("is not running"), "{done:?}");
}

#[test]
fn diff_shows_what_was_added() {
    let pod = Pod::of(&["sh", "-c", "echo x >new; mkdir other"]);
    pod.wait("web");
    assert_eq!(pod.ok(&["diff", "web"]), "A /new\nA /other\n");
    let pod = Pod::of(&["true"]);
    assert_eq!(pod.ok(&["diff", "web"]), "");
}

#[test]
fn stats_show_usage() {
    let pod = Pod::of(&["sleep", "1000"]);
    let line: Value =
        serde_json::from_str(&pod.ok(&["stats", "--no-stream", "--format", "json", "web"])).unwrap();
    for (field, value) in [
        ("Name", "web"),
        ("ID", "000000000000"),
        ("CPUPerc", "10.00%"),
        ("MemUsage", "8MiB / 64MiB"),
        ("MemPerc", "12.50%"),
        ("BlockIO", "1MB / 2MB"),
        ("PIDs", "3"),
        ("NetIO", "0B / 0B"),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
}

#[test]
fn stats_without_names_show_what_runs() {
    let pod = Pod::start(vec![spec_json("web", &["sleep", "1000"]), spec_json("job", &["true"])]);
    pod.wait("job");
    assert_eq!(pod.ok(&["stats", "--no-stream", "--format", "{{.Name}}"]), "web\n");
    let all = pod.ok(&["stats", "--no-stream", "-a", "--format", "{{.Name}} {{.CPUPerc}} {{.PIDs}}"]);
    assert!(all.contains("job 0.00% 0\n") && all.contains("web 10.00% 3\n"), "{all}");
}

//! `docker events` and health checks.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::pod::{Pod, spec_json};

/// A client that follows events, from the first of the pod on.
pub(super) struct Events(Child, BufReader<ChildStdout>);

impl Events {
    pub(super) fn follow(pod: &Pod, arguments: &[&str]) -> Self {
        let arguments = [&["events", "--since", "1", "--format", "json"], arguments].concat();
        let mut child = pod.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self(child, output)
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Reads up to the event with that action.
    pub(super) fn until(&mut self, action: &str) -> Value {
        loop {
            let event = self.next();
            if event["Action"] == action {
                return event;
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn events_tell_a_life() {
    let pod = Pod::of(&["sleep", "1000"]);
    let mut events = Events::follow(&pod, &[]);
    let start = events.next();
    assert_eq!(
        (&start["Action"], &start["status"], &start["Type"]),
        (&json!("start"), &json!("start"), &json!("container"))
    );
    assert_eq!(
        (&start["id"], &start["from"], &start["scope"]),
        (&json!("0".repeat(64)), &json!("busybox:1"), &json!("local"))
    );
    let attributes = &start["Actor"]["Attributes"];
    assert_eq!(
        (&attributes["name"], &attributes["image"], &attributes["tier"]),
        (&json!("web"), &json!("busybox:1"), &json!("front"))
    );
    assert_eq!(start["timeNano"].as_i64().unwrap() / 1_000_000_000, start["time"].as_i64().unwrap());
    pod.ok(&["pause", "web"]);
    pod.ok(&["unpause", "web"]);
    pod.ok(&["top", "web"]);
    pod.ok(&["update", "--memory", "64m", "web"]);
    pod.ok(&["exec", "web", "true"]);
    pod.ok(&["kill", "web"]);
    for action in ["pause", "unpause", "top", "update", "exec_create: true", "exec_start: true", "exec_die"] {
        events.until(action);
    }
    let kill_and_die = [events.next(), events.next()];
    let of = |action: &str| {
        kill_and_die.iter().find(|event| event["Action"] == action).unwrap()["Actor"]["Attributes"].clone()
    };
    assert_eq!((&of("kill")["signal"], &of("die")["exitCode"]), (&json!("9"), &json!("137")));
    pod.ok(&["start", "web"]);
    events.until("start");
    pod.ok(&["stop", "-t", "0", "web"]);
    events.until("stop");
}

#[test]
fn events_have_filters_and_an_end() {
    let pod = Pod::start(vec![spec_json("web", &["sleep", "1000"]), spec_json("job", &["true"])]);
    pod.wait("job");
    // The client cuts all but this form to whole seconds.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let until = ["--since", "1", "--until", &now, "--format", "{{.Action}} {{.Actor.Attributes.name}}"];
    let events = |filters: &[&str]| pod.ok(&[&["events"][..], &until, filters].concat());
    let all = events(&[]);
    assert!(all.lines().count() == 3 && all.starts_with("start web\nstart job\n"), "{all}");
    assert_eq!(events(&["--filter", "event=die"]), "die job\n");
    assert_eq!(events(&["--filter", "container=web"]), "start web\n");
    assert_eq!(events(&["--filter", "container=000000000000"]), "start web\n");
    assert_eq!(
        events(&["--filter", "label=tier=front", "--filter", "event=start"]),
        "start web\nstart job\n"
    );
    assert_eq!(events(&["--filter", "type=network"]), "");
    let done = pod.docker(&["events", "--until", "0s", "--filter", "colour=red"]);
    assert!(done.code == 1 && done.stderr.contains("invalid filter 'colour'"), "{done:?}");
}

fn checked(test: &[&str]) -> Pod {
    let mut spec = spec_json("web", &["sleep", "1000"]);
    let millis = 1_000_000u64;
    spec["healthcheck"] =
        json!({ "test": test, "interval": 20 * millis, "timeout": 60_000 * millis, "retries": 2 });
    Pod::start(vec![spec])
}

#[test]
fn health_goes_from_starting_to_healthy_to_unhealthy() {
    let pod = checked(&["CMD-SHELL", "echo checked; test ! -e broken && test -e ready"]);
    let status = "{{.State.Health.Status}}";
    let mut events = Events::follow(&pod, &["--filter", "event=health_status"]);
    events.until("health_status: unhealthy");
    pod.ok(&["exec", "web", "touch", "ready"]);
    events.until("health_status: healthy");
    assert_eq!(pod.ok(&["inspect", "--format", status, "web"]), "healthy\n");
    assert!(pod.ok(&["ps"]).contains("(healthy)"));
    assert_eq!(pod.ok(&["ps", "-q", "--filter", "health=healthy"]).lines().count(), 1);
    pod.ok(&["exec", "web", "touch", "broken"]);
    events.until("health_status: unhealthy");
    let health = pod.json("/containers/web/json")["State"]["Health"].clone();
    assert!(health["FailingStreak"].as_u64().unwrap() >= 2, "{health}");
    let log = health["Log"].as_array().unwrap();
    assert!((1..=5).contains(&log.len()), "{health}");
    let last = log.last().unwrap();
    assert_eq!((&last["ExitCode"], &last["Output"]), (&json!(1), &json!("checked\n")));
}

#[test]
fn health_is_there_straight_after_a_start() {
    let mut spec = spec_json("web", &["sleep", "1000"]);
    spec["healthcheck"] = json!({ "test": ["CMD", "true"], "interval": 3_600_000_000_000u64 });
    let pod = Pod::start(vec![spec]);
    let health = json!({ "Status": "starting", "FailingStreak": 0, "Log": [] });
    assert_eq!(pod.json("/containers/web/json")["State"]["Health"], health);
    assert!(pod.ok(&["ps"]).contains("(health: starting)"));
    pod.ok(&["restart", "-t", "0", "web"]);
    assert_eq!(pod.json("/containers/web/json")["State"]["Health"], health);
    assert_eq!(pod.json("/containers/web/json")["Config"]["Healthcheck"]["Test"], json!(["CMD", "true"]));
}

#[test]
fn a_check_that_hangs_is_killed() {
    let mut spec = spec_json("web", &["sleep", "1000"]);
    let millis = 1_000_000u64;
    let test = ["CMD-SHELL", "echo hangs; echo $$ >pid; sleep 1000"];
    spec["healthcheck"] = json!({ "test": test, "interval": millis, "timeout": 200 * millis, "retries": 1 });
    let pod = Pod::start(vec![spec]);
    Events::follow(&pod, &["--filter", "event=health_status"]).until("health_status: unhealthy");
    let log = pod.json("/containers/web/json")["State"]["Health"]["Log"].clone();
    assert_eq!(log[0]["ExitCode"], json!(-1), "{log}");
    assert_eq!(log[0]["Output"], json!("Health check exceeded timeout (200ms): hangs\n"));
}

#[test]
fn a_check_that_cannot_run_fails() {
    let pod = checked(&["CMD", "no-such-program"]);
    Events::follow(&pod, &["--filter", "event=health_status"]).until("health_status: unhealthy");
    let log = pod.json("/containers/web/json")["State"]["Health"]["Log"].clone();
    assert!(log[0]["Output"].as_str().unwrap().contains("executable file not found"), "{log}");
}

#[test]
fn output_of_checks_is_cut() {
    let pod = checked(&["CMD-SHELL", "head -c 100000 /dev/zero | tr '\\0' x"]);
    Events::follow(&pod, &["--filter", "event=health_status"]).until("health_status: healthy");
    let log = pod.json("/containers/web/json")["State"]["Health"]["Log"].clone();
    assert_eq!(log[0]["Output"].as_str().unwrap(), "x".repeat(4096));
}

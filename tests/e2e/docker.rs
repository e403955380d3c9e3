//! The real docker client on `DIR/docker.sock` of a running pod.

mod client;
mod copies;
mod ends;
mod layers;
mod load;
mod terminals;

use serde_json::json;
use tests::{Docker, Host, Pod, Running, images};

/// A pod that runs, and the client on it.
struct Served<'h> {
    pod: Pod<'h>,
    running: Running,
    docker: Docker,
}

/// Runs a pod until its first container has written `ready`.
fn serve<'h>(pod: Pod<'h>) -> Served<'h> {
    let mut running = pod.start();
    running.wait_for("ready");
    let docker = Docker::of(&pod);
    Served { pod, running, docker }
}

/// A pod with a container `web` whose program is a script for busybox's shell.
fn scripted<'h>(host: &'h Host, wishes: &[&str], script: &str) -> Served<'h> {
    let wishes = [&["--name", "web"][..], wishes].concat();
    serve(host.summon(&wishes, &images::layout("busybox"), &["sh", "-c", script]))
}

/// A pod of two containers that wait.
fn pair(host: &Host) -> Served<'_> {
    let image = images::layout("busybox");
    let container = |name: &str, script: &str| {
        json!({
            "name": name,
            "image": {"ref": image},
            "process": {"cmd": ["sh", "-c", script], "stopTimeout": 2},
        })
    };
    serve(host.summon_file(&json!({
        "resources": {"cpu": 1, "mem": 256},
        "labels": {"team": "shop"},
        "containers": [
            container("web", "echo ready; trap 'exit 3' TERM; while :; do sleep 0.1; done"),
            container("db", "echo waiting; exec sleep 1000"),
        ],
    })))
}

//! Volumes that are directories of the host: several pods have one at a time.

use tests::{Host, images};

#[test]
fn pods_that_write_see_each_other() {
    let host = Host::shared();
    let image = images::layout("busybox");
    host.succeed(&["volume", "create", "--driver", "gfs", "-o", "writers=many", "many"]);
    let pod = |name: &str, volume: &str, script: &str| {
        host.summon_as(name, &["--memory", "128m", "-v", volume], &image, &["sh", "-c", script])
    };
    // Filled with what the image has there, by the first.
    let first = pod(
        "first",
        "many:/bin",
        "echo first >/bin/.a; echo ready; until [ -e /bin/.end ]; do sleep 0.2; done; [ -e /bin/.b ] || echo unlinked",
    );
    let second = pod(
        "second",
        "many:/m",
        "cat /m/.a; mv /m/.a /m/.b; echo second >/m/.b; echo ready; until [ -e /m/.end ]; do sleep 0.2; done",
    );
    let reader = pod(
        "reader",
        "many:/m:ro",
        "[ -e /m/.a ] || echo renamed; cat /m/.b; /m/busybox true && echo filled
        (echo x >/m/x) 2>/dev/null || echo refused; echo ready; until [ -e /m/.end ]; do sleep 0.2; done",
    );
    let mut running = vec![first.start()];
    running[0].wait_for("ready");
    running.push(second.start());
    assert_eq!(running[1].wait_for(""), "first");
    running[1].wait_for("ready");
    running.push(reader.start());
    for line in ["renamed", "second", "filled", "refused", "ready"] {
        assert_eq!(running[2].wait_for(""), line);
    }
    let last = pod("last", "many:/m", "rm /m/.b; touch /m/.end");
    assert_eq!(last.run().good(), "");
    let ended: Vec<_> = running.into_iter().map(|mut one| one.end()).collect();
    assert_eq!(ended[0].good(), "unlinked\n");
    assert!(ended.iter().all(|one| one.code == Some(0)));
}

#[test]
fn one_pod_writes_where_nothing_else_is_said() {
    let host = Host::shared();
    let image = images::layout("busybox");
    host.succeed(&["volume", "create", "--driver", "gfs", "alone"]);
    let pod = |name: &str, volume: &str, script: &str| {
        host.summon_as(name, &["--memory", "128m", "-v", volume], &image, &["sh", "-c", script])
    };
    let writer =
        pod("writer", "alone:/m", "mkdir /m/sub; echo text >/m/sub/file; echo ready; exec sleep 1000");
    let other = pod("other", "alone:/m", "true");
    let reader = host.summon_as(
        "reader",
        &["--mount", "source=alone,target=/m,volume-subpath=sub,ro"],
        &image,
        &["cat", "/m/file"],
    );
    let mut running = writer.start();
    running.wait_for("ready");
    let error = host.refuse(&["run", other.name()]);
    assert!(error.contains(&format!("volume alone is in use by pod {}", writer.name())), "{error}");
    assert!(error.contains("writers=many"), "{error}");
    assert_eq!(reader.run().good(), "text\n");
    host.succeed(&["stop", "--time", "0", writer.name()]);
    running.end();
    assert_eq!(other.run().good(), "");
    for pod in [writer, other, reader] {
        host.succeed(&["rm", pod.name()]);
    }
    host.succeed(&["volume", "rm", "alone"]);
}

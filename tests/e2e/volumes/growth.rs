//! Volumes that become larger while a pod has them, or before the next one does.

use serde_json::Value;
use tests::{Host, images};

/// KiB of the file system at /data, as a container has printed them.
fn kib(line: &str) -> u64 {
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_volume_grows_under_its_pod_and_at_the_next_boot() {
    let host = Host::shared();
    let image = images::layout("busybox");
    host.succeed(&["volume", "create", "-o", "size=64m", "growing-volume-of-a-pod"]);
    let script = "cat /sys/block/vdc/serial; echo; echo kept >/data/x; echo ready
        while :; do df -k /data | tail -1; sleep 0.2; done";
    let volume = ["-v", "growing-volume-of-a-pod:/data"];
    let pod = host.summon_as("pod", &volume, &image, &["sh", "-c", script]);
    let mut running = pod.start();
    // As much of the name as a serial number has room for.
    assert_eq!(running.wait_for("grow"), "growing-volume-of-a-");
    running.wait_for("ready");
    assert!(kib(&running.wait_for("/data")) < 65 << 10);
    // Far beyond what its tables were made for.
    host.succeed(&["volume", "resize", "growing-volume-of-a-pod", "20g"]);
    while kib(&running.wait_for("/data")) < 19 << 20 {}
    let error = host.refuse(&["volume", "resize", "growing-volume-of-a-pod", "10g"]);
    assert!(error.contains("does not shrink"), "{error}");

    // Cut short, as by a kill: the file has grown and nobody was told.
    let shown: Value =
        serde_json::from_str(&host.succeed(&["volume", "inspect", "growing-volume-of-a-pod"])).unwrap();
    assert_eq!(shown[0]["running"][0], pod.path().to_str().unwrap());
    let disk = std::fs::File::options().write(true).open(shown[0]["path"].as_str().unwrap()).unwrap();
    disk.set_len(24 << 30).unwrap();
    host.succeed(&["stop", "--time", "0", pod.name()]);
    running.end();
    let next = host.summon_as("next", &volume, &image, &["sh", "-c", "cat /data/x; df -k /data | tail -1"]);
    let seen = next.run();
    let seen = seen.good();
    let (kept, size) = seen.split_once('\n').unwrap();
    assert_eq!(kept, "kept");
    assert!(kib(size) > 23 << 20, "{size}");
}

#[test]
fn readers_share_a_volume_that_nobody_writes() {
    let host = Host::shared();
    let image = images::layout("busybox");
    let writes = |name: &str, script: &str| {
        host.summon_as(
            name,
            &["-v", "read-by-many:/data", "--volume-size", "64m"],
            &image,
            &["sh", "-c", script],
        )
    };
    let reads = |name: &str| {
        let script =
            "cat /data/x; (echo x >/data/y) 2>/dev/null || echo refused; echo ready; exec sleep 1000";
        host.summon_as(name, &["-v", "read-by-many:/data:ro"], &image, &["sh", "-c", script])
    };
    let (writer, one, other) = (
        writes("writer", "echo written >/data/x; sync; echo ready; exec sleep 1000"),
        reads("one"),
        reads("other"),
    );
    let in_use = |error: String, by: &tests::Pod<'_>| {
        assert!(error.contains(&format!("volume read-by-many is in use by pod {}", by.name())), "{error}");
    };
    let mut running = writer.start();
    running.wait_for("ready");
    in_use(host.refuse(&["run", one.name()]), &writer);
    // Killed: whoever comes next has to put the file system in order, also for reading, and has it alone.
    running.signal(rustix::process::Signal::KILL);
    running.end();
    let mut first = one.start();
    for line in ["written", "refused", "ready"] {
        assert_eq!(first.wait_for(""), line);
    }
    in_use(host.refuse(&["run", other.name()]), &one);
    host.succeed(&["stop", "--time", "0", one.name()]);
    first.end();
    let (mut first, mut second) = (one.start(), other.start());
    first.wait_for("ready");
    second.wait_for("ready");
    in_use(host.refuse(&["run", writer.name()]), &one);
    let error = host.refuse(&["volume", "rm", "read-by-many"]);
    assert!(error.contains("volume is in use"), "{error}");
    host.succeed(&["stop", "--time", "0", one.name(), other.name()]);
    first.end();
    second.end();
    for pod in [writer, one, other] {
        host.succeed(&["rm", pod.name()]);
    }
    host.succeed(&["volume", "rm", "read-by-many"]);
}

//! Limits of disks: they hold, change while a pod runs, hold nothing else up, and nobody waits for them at the end.

use std::io::Write as _;

use tests::{Daemon, Host, images};

/// Requests that write a second, and bytes read.
const RATES: [f64; 2] = [50.0, 819_200.0];

#[test]
fn a_limit_holds_by_the_clock_of_the_guest() {
    let host = Host::shared();
    // In a lab that counts instructions nothing else takes the time: then it may not take longer either.
    let is_exact = std::env::var_os("LIMITS_EXACT").is_some();
    let count = if is_exact { 600 } else { 100 };
    let script = format!(
        "count() {{
            # Writes, discards and flushes; bytes read; milliseconds.
            cat /sys/block/vd*/stat | awk -v now=$(($(date +%s%N) / 1000000)) '
                {{ writes += $5 + $12 + $16; bytes += $3 * 512 }} END {{ printf \"%.0f %.0f %s\", writes, bytes, now }}'
        }}
        timed() {{
            before=$(count)
            \"$@\" 2>/dev/null
            echo $before $(count)
        }}
        # Programs are read under the limits, too.
        dd if=/dev/null of=/dev/null 2>/dev/null; count >/dev/null
        timed dd if=/dev/zero of=/file bs=16k count={count} oflag=direct
        timed dd if=/file of=/dev/null bs=16k iflag=direct"
    );
    let limits = ["--device-write-iops", "/:50", "--device-read-bps", "/dev/root:800k"];
    let pod = host.summon(&limits, &images::layout("debian"), &["sh", "-c", &script]);
    let record = std::fs::read(pod.path().join("pod.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["limits"], serde_json::json!({"/": {"readBps": 819_200, "writeIops": 50}}));
    let output = pod.run().good();
    assert_eq!(output.lines().count(), 2, "{output}");
    for (kind, (line, rate)) in output.lines().zip(RATES).enumerate() {
        let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let [before, after] = [&numbers[..3], &numbers[3..]];
        let (done, seconds) = (after[kind] - before[kind], (after[2] - before[2]) / 1000.0);
        assert!(done >= [f64::from(count), f64::from(count) * 16384.0][kind], "{line}");
        // What a fifth of a second saves comes beforehand; the first of the next is counted before it is done.
        let least = done / rate - 0.2;
        assert!(seconds >= least - 0.04, "{done} in {seconds} s, not {least} s");
        assert!(!is_exact || seconds <= least * 1.03 + 0.2, "{done} in {seconds} s, not {least} s");
    }
}

#[test]
fn limits_change_while_a_pod_runs_and_do_not_outlive_it() {
    let host = Host::shared();
    let script = "
        echo ready; read go
        dd if=/dev/zero of=/file bs=4k count=3 oflag=direct 2>/dev/null; echo written; read go
        dd if=/dev/zero of=/big bs=1M count=16 2>/dev/null; echo in memory";
    let pod = host.summon(&["--interactive"], &images::layout("debian"), &["sh", "-c", script]);
    let throttle = |limit: &[&str]| {
        let mut arguments = vec!["throttle"];
        arguments.extend(limit);
        arguments.push(pod.name());
        host.succeed(&arguments)
    };
    let mut running = pod.start();
    let mut stdin = running.stdin.take().unwrap();
    running.wait_for("ready");
    // A byte a second: whoever waits for it waits for hours.
    throttle(&["--device-write-bps", "/:1"]);
    assert_eq!(throttle(&[]), "{\n  \"/\": {\n    \"writeBps\": 1\n  }\n}\n");
    stdin.write_all(b"\n").unwrap();
    // The vsock and the control socket go on.
    assert!(host.succeed(&["ps", pod.name()]).contains(" Up "));
    throttle(&["--device-write-bps", "/:0"]);
    running.wait_for("written");
    throttle(&["--device-write-bps", "/:1"]);
    stdin.write_all(b"\n").unwrap();
    running.wait_for("in memory");
    // 16 MiB are to be written yet.
    assert_eq!(running.end().code, Some(0));

    // The next run begins with it, and so does its end.
    let stuck = pod.start();
    host.succeed(&["stop", "--time", "0", pod.name()]);
    drop(stuck);
    throttle(&["--device-write-bps", "/:0"]);
    assert_eq!(throttle(&[]), "{}\n");
    let error = host.refuse(&["throttle", "--device-write-bps", "/dev/sda:1m", pod.name()]);
    assert!(error.contains("/dev/sda is no disk of the pod, which has /"), "{error}");
    let error = host.refuse(&["run", "--device-read-iops", "/:many", pod.name()]);
    assert!(error.contains("invalid value for --device-read-iops"), "{error}");
}

#[test]
fn docker_limits_disks_of_containers() {
    let host = Host::shared();
    let daemon = Daemon::with_busybox(&host);
    let docker = daemon.docker();
    let wishes =
        ["create", "--name", "slow", "-v", "data:/data", "--device-write-bps", "/dev/volume/data:1mb"];
    let rest =
        ["--device-read-iops", "/dev/root:1000", "busybox", "sh", "-c", "echo x >/data/x; cat /data/x"];
    docker.good(&[&wishes[..], &rest[..]].concat());
    let format = "{{json .HostConfig.BlkioDeviceWriteBps}}{{json .HostConfig.BlkioDeviceReadIOps}}";
    let shown = docker.good(&["inspect", "--format", format, "slow"]);
    let wanted = r#"[{"Path":"/dev/volume/data","Rate":1048576}][{"Path":"/dev/root","Rate":1000}]"#;
    assert_eq!(shown.trim(), wanted);
    assert_eq!(docker.good(&["start", "-a", "slow"]), "x\n");
    let error = docker.refused(&["create", "--device-write-bps", "/dev/sda:1mb", "busybox"], 1);
    assert!(error.contains("/dev/sda is no disk of the pod, which has /"), "{error}");
}

//! Named volumes: disks that outlive their pods.

mod devices;
mod directories;
mod growth;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::{Host, Pod, images};

/// Adds the volume `db` with that file to a pod, mounted into its first container.
fn mount(pod: &Pod<'_>, file: &Path, path: &str, more: &Value) {
    let change = |name: &str, change: &dyn Fn(&mut Value)| {
        let path = pod.path().join(name);
        let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(&path, value.to_string()).unwrap();
    };
    let push = |list: &mut Value, value: Value| match list {
        Value::Array(list) => list.push(value),
        other => *other = json!([value]),
    };
    change("launch.json", &|launch| {
        push(&mut launch["disks"], json!({"kind": "volume", "name": "db"}));
        let mut volume = json!({"name": "db"});
        for (name, value) in more.as_object().unwrap() {
            volume[name] = value.clone();
        }
        let read_only = volume.as_object_mut().unwrap().remove("readOnly").unwrap_or_default();
        let mount = json!({"guestPath": path, "source": {"volume": volume}, "readOnly": read_only == true});
        push(&mut launch["containers"][0]["mounts"], mount);
    });
    change("pod.json", &|record| {
        push(&mut record["disks"], json!({"kind": "volume", "name": "db", "path": file}));
    });
}

#[test]
fn pods_share_a_volume_one_after_the_other() {
    let host = Host::shared();
    let image = images::layout("busybox");
    // A new pod's writable disk is as empty as a new volume's.
    let donor = host.summon_as("donor", &["--disk-size", "64m"], &image, &["true"]);
    let file = host.folder().join("db.ext4");
    fs::copy(donor.path().join("scratch.ext4"), &file).unwrap();
    let pod = |name: &str, path: &str, more: Value, script: &str| {
        let pod = host.summon_as(name, &["--name", name], &image, &["sh", "-c", script]);
        mount(&pod, &file, path, &more);
        pod
    };

    // Left empty where that is wished; then filled with what the image has, from which this one runs.
    let nothing =
        pod("nothing", "/new", json!({"noCopy": true}), "ls -a /new | tr '\\n' ' '; stat -c %a /new");
    assert_eq!(nothing.run().good(), ". .. 755\n");
    let script = "grep -q ' /bin ext4 ' /proc/mounts && echo one >/bin/one; echo ready; exec sleep 1000";
    let filled = pod("filled", "/bin", json!({}), script);
    let mut running = filled.start();
    running.wait_for("ready");

    // One at a time.
    let script = "cat /data/one; ls -d /data/lost+found; (echo x >/data/x) || /data/busybox echo refused";
    let reader = pod("reader", "/data", json!({"readOnly": true}), script);
    let error = host.refuse(&["run", reader.name()]);
    assert!(error.contains(&format!("volume db is in use by pod {}", filled.name())), "{error}");
    host.succeed(&["stop", "--time", "0", filled.name()]);
    running.end();
    let seen = reader.run();
    assert_eq!(seen.out(), "one\nrefused\n", "{}", seen.err());

    let part = pod("part", "/part", json!({"subpath": "one"}), "cat /part; echo two >/part");
    assert_eq!(part.run().good(), "one\n");
    let seen = reader.run();
    assert_eq!(seen.out(), "two\nrefused\n", "{}", seen.err());
    // As everywhere else in a container, a node of one of the pod's disks can be made and not opened.
    let script = "mknod /data/disk b $(tr : ' ' </sys/block/vda/dev) && echo made; cat /data/disk >/dev/null";
    let node = pod("node", "/data", json!({}), script).run();
    assert_eq!(node.out(), "made\n", "{}", node.err());
    assert!(node.err().contains("Permission denied"), "{}", node.err());
    let outside = pod("outside", "/part", json!({"subpath": "../lost+found"}), "true");
    let refused = outside.run();
    assert!(refused.code != Some(0) && refused.err().contains("cannot make the volume"), "{}", refused.err());
}

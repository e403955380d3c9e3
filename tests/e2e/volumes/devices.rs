//! Volumes on devices and files that are there, and stay.

use std::fs::{self, File};
use std::process::Command;

use serde_json::json;
use tests::{Host, images};

#[test]
fn a_device_is_one_users_and_is_kept() {
    let host = Host::shared();
    let image = images::layout("busybox");
    let file = host.folder().join("disk");
    File::create(&file).unwrap().set_len(64 << 20).unwrap();
    let attached = Command::new("losetup").args(["-f", "--show"]).arg(&file).output().unwrap();
    let device = String::from_utf8(attached.stdout).unwrap().trim().to_owned();
    assert!(!device.is_empty(), "{}", String::from_utf8_lossy(&attached.stderr));
    let error = host.refuse(&["volume", "create", "--device", file.to_str().unwrap(), "behind"]);
    assert!(error.contains(&format!("it is the file behind {device}")), "{error}");
    host.succeed(&["volume", "create", "--device", &device, "on-device"]);
    let script = "ls -A /d; echo kept >/d/x; echo ready; exec sleep 1000";
    let pod = host.summon_as("pod", &["-v", "on-device:/d"], &image, &["sh", "-c", script]);
    let mut running = pod.start();
    // All of its file system, not a part of it.
    assert_eq!(running.wait_for(""), "lost+found");
    running.wait_for("ready");
    let place = host.folder().join("mnt");
    fs::create_dir(&place).unwrap();
    let mount = || Command::new("mount").arg(&device).arg(&place).output().unwrap();
    assert!(!mount().status.success(), "the host does not mount what a microVM has");
    // The same device under a name of a pod file's own.
    let second = json!({
        "volumes": [{"name": "data", "devicePath": device}],
        "containers": [{
            "image": {"ref": image}, "process": {"cmd": ["cat", "/v/x"]},
            "volumeMounts": [{"volumeName": "data", "guestPath": "/v", "readOnly": true}],
        }],
    });
    let path = host.folder().join("pod.json");
    fs::write(&path, second.to_string()).unwrap();
    let summon = ["summon", "--quiet", "--file", path.to_str().unwrap()];
    let other = host.pod("other");
    let error = host.refuse(&[&summon[..], &[other.name()]].concat());
    assert!(error.contains("is in use: it is mounted"), "{error}");
    host.succeed(&["stop", "--time", "0", pod.name()]);
    running.end();
    host.succeed(&[&summon[..], &[other.name()]].concat());
    assert_eq!(other.run().good(), "kept\n");

    let mounted = mount();
    assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    let error = host.refuse(&["run", pod.name()]);
    assert!(error.contains("volume on-device is in use"), "{error}");
    assert!(Command::new("umount").arg(&place).status().unwrap().success());
    for pod in [pod, other] {
        host.succeed(&["rm", pod.name()]);
    }
    host.succeed(&["volume", "rm", "on-device"]);
    // It is the user's.
    assert!(mount().status.success());
    assert_eq!(fs::read_to_string(place.join("x")).unwrap(), "kept\n");
    for command in [["umount", place.to_str().unwrap()], ["losetup", "-d"]] {
        let _done = Command::new(command[0])
            .args(&command[1..])
            .args((command[0] == "losetup").then_some(&device))
            .status();
    }
}

//! What `summon` makes of images, options and pod files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use spec::launch::{DiskSpec, Writable};

use crate::host::{Host, names};
use crate::image_files;

#[test]
fn a_pod_directory_is_whole_and_private() {
    let host = Host::new();
    let launch = host.summon("pod", &[], &[]);
    assert_eq!(names(&host.path("pod")), ["cradle", "launch.json", "lock", "pod.json", "scratch.ext4"]);
    assert_eq!(fs::metadata(host.path("pod")).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_link(host.path("pod/cradle")).unwrap(), host.path("package").canonicalize().unwrap());
    assert_eq!(launch.disks, [DiskSpec::Image { verity: None }, DiskSpec::Scratch]);
    let container = &launch.containers[0];
    assert_eq!(container.process.cmd, ["/entry", "default"]);
    assert_eq!(container.process.workdir, "/srv");
    assert_eq!(container.image.writable, Writable::Disk(1));
    assert_eq!((container.name.as_str(), container.hostname.as_str()), ("app", &launch.id[..12]));
    assert_eq!((launch.resources.cpu, launch.resources.mem), (1, 512));
    let record: Value = serde_json::from_slice(&fs::read(host.path("pod/pod.json")).unwrap()).unwrap();
    for extent in record["disks"][0]["extents"].as_array().unwrap() {
        let length = fs::metadata(extent["path"].as_str().unwrap()).unwrap().len();
        assert_eq!(extent["length"], length);
    }
    // Nothing of the making is left beside it.
    assert_eq!(host.names(), ["app.tar", "home", "package", "pod"]);
}

#[test]
fn a_variant_takes_a_package_of_its_kind() {
    let host = Host::new();
    let summon = ["summon", "--quiet", "--variant", "snp", "pod", &host.image()];
    let refused = host.kcradle(&summon);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("is no runtime package for snp machines"), "{}", refused.err);
    assert!(refused.err.contains("make VARIANT=snp") && !host.path("pod").exists(), "{}", refused.err);

    let json = concat!(
        r#"{"version":3,"machine":"snp","kernel":{"kernel":"vmlinux","initrd":"initramfs","release":"6.12"},"#,
        r#""snp":{"stub":"initramfs","commandLine":"","digests":{"kernel":"","initrd":"","stub":""}}}"#
    );
    fs::write(host.path("package/cradle.json"), json).unwrap();
    host.good(&summon);
    let refused = host.kcradle(&["summon", "--quiet", "other", &host.image()]);
    assert!(refused.err.contains("is no runtime package for default machines"), "{}", refused.err);
}

/// A host with a package for SNP guests.
fn snp_host() -> Host {
    let host = Host::new();
    let json = concat!(
        r#"{"version":3,"machine":"snp","kernel":{"kernel":"vmlinux","initrd":"initramfs","release":"6.12"},"#,
        r#""snp":{"stub":"initramfs","commandLine":"","digests":{"kernel":"","initrd":"","stub":""}}}"#
    );
    fs::write(host.path("package/cradle.json"), json).unwrap();
    host
}

#[test]
fn a_pod_of_an_snp_guest_is_bound_to_its_image() {
    let host = snp_host();
    let launch = host.summon("pod", &["--variant", "snp", "-v", "/data"], &[]);
    let [DiskSpec::Image { verity: Some(verity) }] = &launch.disks[..] else { panic!("{:?}", launch.disks) };
    assert_eq!(launch.containers[0].image.writable, Writable::Tmpfs);
    // Nothing of the host is mounted: the container's own volume is in memory too.
    assert_eq!(names(&host.path("pod")), ["cradle", "launch.json", "lock", "pod.json"]);
    // The disk that the host will attach, judged by a program that is not ours.
    let record: Value = serde_json::from_slice(&fs::read(host.path("pod/pod.json")).unwrap()).unwrap();
    let extents = record["disks"][0]["extents"].as_array().unwrap();
    let disk: Vec<u8> =
        extents.iter().flat_map(|extent| fs::read(extent["path"].as_str().unwrap()).unwrap()).collect();
    fs::write(host.path("disk"), disk).unwrap();
    let offset = verity.data_blocks * 4096;
    let judge = |root: &str| {
        let mut command = std::process::Command::new("veritysetup");
        command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").args(["verify", "--no-superblock", "--salt=-"]);
        command.arg(format!("--data-blocks={}", verity.data_blocks)).arg(format!("--hash-offset={offset}"));
        command.arg(host.path("disk")).arg(host.path("disk")).arg(root).status().unwrap().success()
    };
    assert!(judge(&verity.root));
    assert!(!judge(&"5a".repeat(32)));
    // A second pod of the image has the same root, without a second tree.
    assert_eq!(host.summon("again", &["--variant", "snp"], &[]).disks, launch.disks);
    assert_eq!(names(&host.path("home/store/verity")).len(), 1);
}

#[test]
fn what_the_host_could_change_is_no_part_of_an_snp_guest() {
    let host = snp_host();
    fs::create_dir(host.path("files")).unwrap();
    let files = format!("{}:/srv", host.path("files").display());
    let mounts = [["-v", &files], ["-v", "data:/srv"], ["--mount", "type=volume,src=data,dst=/srv"]];
    let image = host.image();
    for mount in mounts {
        let arguments = [&["summon", "--quiet", "--variant", "snp"], &mount[..], &["pod", &image]].concat();
        let refused = host.refused(&arguments, 1);
        assert!(refused.contains("behind an SNP guest's back") && refused.contains("untrusted"), "{refused}");
    }
    let sized = host.refused(&["summon", "--variant", "snp", "--disk-size", "1g", "pod", &image], 1);
    assert!(sized.contains("stays in memory"), "{sized}");

    // A directory may come along where the pod file says that this is known, a disk never.
    host.good(&["volume", "create", "--driver", "gfs", "shared"]);
    host.good(&["volume", "create", "disk"]);
    let file = |volume: &str, untrusted: bool| {
        let pod = json!({"containers": [{"image": {"ref": image}, "volumeMounts": [
            {"volumeName": volume, "guestPath": "/srv", "untrusted": untrusted}]}]});
        fs::write(host.path("pod.yaml"), pod.to_string()).unwrap();
    };
    let summon = ["summon", "--quiet", "--variant", "snp", "--file", "pod.yaml", "pod"];
    file("shared", false);
    assert!(host.refused(&summon, 1).contains("the volume shared at /srv"));
    file("disk", true);
    assert!(host.refused(&summon, 1).contains("mounts no file system that its host could have written"));
    assert!(!host.path("pod").exists());
    file("shared", true);
    host.good(&summon);
    let launch = host.launch("pod");
    assert_eq!(launch.shares.iter().map(|share| share.untrusted).collect::<Vec<_>>(), [true]);
}

#[test]
fn options_win_over_the_image() {
    let host = Host::new();
    fs::write(host.path("env"), "KEPT=file\nFILE=1\n").unwrap();
    let options = [
        "--cpus",
        "1.5",
        "--memory",
        "300m",
        "-e",
        "FROM_IMAGE=changed",
        "--env-file",
        "env",
        "--entrypoint",
        "/other",
        "--user",
        "7:8",
        "--workdir",
        "/w",
        "--hostname",
        "box",
        "-t",
        "-i",
        "--read-only",
        "--tmpfs",
        "/run:size=1m",
        "--stop-timeout",
        "3",
        "--name",
        "web",
    ];
    let launch = host.summon("pod", &options, &["-c", "--user", "x"]);
    assert_eq!((launch.resources.cpu, launch.resources.mem), (2, 300));
    let container = &launch.containers[0];
    assert_eq!(container.limits.cpu_millis, Some(1500));
    assert_eq!((container.name.as_str(), container.hostname.as_str()), ("web", "box"));
    let process = &container.process;
    assert_eq!(process.cmd, ["/other", "-c", "--user", "x"]);
    assert_eq!((process.user.as_str(), process.workdir.as_str(), process.stop_timeout), ("7:8", "/w", 3));
    assert!(process.tty && process.stdin);
    let value = |name: &str| process.env.iter().find(|env| env.name == name).map(|env| env.value.as_str());
    assert_eq!(
        (value("FROM_IMAGE"), value("KEPT"), value("FILE")),
        (Some("changed"), Some("file"), Some("1"))
    );
    assert_eq!(container.image.writable, Writable::ReadOnly);
    assert_eq!(container.mounts[0].guest_path, "/run");
    // Nothing can be written, so there is no disk for it.
    assert_eq!(launch.disks, [DiskSpec::Image { verity: None }]);
    assert!(!host.path("pod/scratch.ext4").exists());
}

#[test]
fn a_layout_gives_the_same_image() {
    let host = Host::new();
    image_files::oci_layout(&host.path("layout"));
    host.summon("one", &[], &[]);
    let image = format!("oci:{}:v1", host.path("layout").display());
    let out = host.good(&["summon", "--json", "two", &image]);
    let printed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(printed["images"][0]["reference"], image);
    assert!(printed["images"][0]["digest"].as_str().unwrap().starts_with("sha256:"));
    let disks = |dir: &str| {
        let record: Value =
            serde_json::from_slice(&fs::read(host.path(dir).join("pod.json")).unwrap()).unwrap();
        record["disks"][0].clone()
    };
    assert_eq!(disks("one"), disks("two"));
}

#[test]
fn a_pod_file_makes_several_containers_and_one_disk_an_image() {
    let host = Host::new();
    let image = host.image();
    let pod = json!({"resources": {"cpu": 2, "mem": 128}, "containers": [
        {"image": {"ref": image}, "process": {"cmd": ["a"], "env": [{"name": "X", "valueFrom": {"podEnv": "Y"}}]}},
        {"image": {"ref": image}, "lifecycle": {"critical": true}},
        {"name": "third", "image": {"ref": image}},
    ]});
    fs::write(host.path("pod.json"), pod.to_string()).unwrap();
    host.good(&["summon", "--quiet", "--memory", "256m", "--file", "pod.json", "pod"]);
    let launch = host.launch("pod");
    assert_eq!((launch.resources.cpu, launch.resources.mem), (2, 256));
    let names: Vec<_> = launch.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["app", "app-2", "third"]);
    assert_eq!(launch.disks, [DiskSpec::Image { verity: None }, DiskSpec::Scratch]);
    assert_eq!(launch.containers[0].process.cmd, ["a"]);
    let variable = launch.containers[0].process.env.iter().find(|env| env.name == "X").unwrap();
    assert_eq!(variable.value_from.as_ref().unwrap().pod_env, "Y");
    assert_eq!(launch.containers[1].process.cmd, ["/entry", "default"]);
    assert!(launch.containers[1].lifecycle.critical);
}

#[test]
fn plain_lines_go_to_standard_error() {
    let host = Host::new();
    let ended = host.kcradle(&["summon", "pod", &host.image()]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""));
    assert!(ended.err.contains("looking for") && !ended.err.contains('\x1b'), "{}", ended.err);
    let quiet = host.kcradle(&["summon", "-q", "quiet", &host.image()]);
    assert_eq!((quiet.code, quiet.err.as_str()), (Some(0), ""));
}

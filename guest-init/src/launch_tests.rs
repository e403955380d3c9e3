//! Tests of the launch specification's checks, and the specifications that other tests start from.

use super::*;
use spec::launch::{EnvFrom, EnvSpec, ImageSpec, MountSpec, ProcessSpec, Resources, RlimitSpec, VeritySpec};

/// A container that runs `true`.
pub(crate) fn container(name: &str) -> ContainerSpec {
    ContainerSpec {
        name: name.into(),
        image: ImageSpec {
            reference: "busybox".into(),
            digest: String::new(),
            disk: 0,
            writable: Writable::Disk(1),
        },
        process: ProcessSpec {
            cmd: vec!["true".into()],
            init: false,
            env: Vec::new(),
            workdir: "/".into(),
            tty: false,
            stdin: false,
            stdin_once: true,
            user: String::new(),
            capabilities: vec!["CAP_CHOWN".into()],
            no_new_privileges: false,
            groups: Vec::new(),
            rlimits: Vec::new(),
            stop_signal: 15,
            stop_timeout: 10,
        },
        lifecycle: Default::default(),
        hostname: name.into(),
        mounts: Vec::new(),
        limits: Default::default(),
        shm_size: 64 << 20,
        labels: Default::default(),
        healthcheck: None,
    }
}

/// A pod of the containers with one image and one writable disk.
pub(crate) fn pod(containers: Vec<ContainerSpec>) -> LaunchSpec {
    LaunchSpec {
        version: VERSION,
        id: "0".repeat(64),
        resources: Resources { cpu: 1, mem: 128 },
        disks: vec![DiskSpec::Image { verity: None }, DiskSpec::Scratch],
        shares: Vec::new(),
        containers,
        network: Default::default(),
        hold: false,
        quiet: false,
    }
}

fn refusal(change: impl FnOnce(&mut LaunchSpec)) -> String {
    let mut spec = pod(vec![container("a"), container("b")]);
    check(&spec).unwrap();
    change(&mut spec);
    check(&spec).unwrap_err()
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert_eq!(refusal(|s| s.version = 2), "version 2 is not 1");
    assert_eq!(refusal(|s| s.containers.clear()), "0 containers");
    assert_eq!(refusal(|s| s.containers = vec![container("a"); 129]), "129 containers");
    assert_eq!(refusal(|s| s.containers[1].name = "a".into()), "container name \"a\"");
    assert_eq!(refusal(|s| s.containers[1].name = "..".into()), "container name \"..\"");
    assert_eq!(refusal(|s| s.containers[1].name = "a/b".into()), "container name \"a/b\"");
    assert_eq!(refusal(|s| s.containers[0].image.disk = 1), "container a: image disk 1");
    assert_eq!(refusal(|s| s.containers[0].image.disk = 9), "container a: image disk 9");
    assert_eq!(
        refusal(|s| s.containers[0].image.writable = Writable::Disk(0)),
        "container a: writable disk 0"
    );
    assert_eq!(refusal(|s| s.containers[0].process.cmd.clear()), "container a: no command");
    assert_eq!(refusal(|s| s.containers[0].process.stop_signal = 65), "container a: stop signal 65");
    assert_eq!(refusal(|s| s.containers[0].process.stop_signal = 0), "container a: stop signal 0");
    assert_eq!(
        refusal(|s| s.containers[0].process.capabilities[0] = "CAP_X".into()),
        "container a: capability \"CAP_X\""
    );
    assert_eq!(refusal(|s| s.containers[0].lifecycle.before = "x".into()), "container a: before \"x\"");
    assert!(refusal(|s| s.containers[0].hostname = "x".repeat(65)).contains("host name"));
    assert_eq!(
        refusal(|s| s.network.nameservers.push("1.1.1.1\nroot".into())),
        "network entry \"1.1.1.1\\nroot\""
    );
}

#[test]
fn variables_limits_and_mounts_are_checked() {
    let variable =
        |name: &str, value: &str| EnvSpec { name: name.into(), value: value.into(), value_from: None };
    for name in ["", "A=B", "A\0"] {
        assert!(refusal(|s| s.containers[0].process.env.push(variable(name, ""))).contains("variable"));
    }
    assert!(refusal(|s| s.containers[0].process.env.push(variable("A", "\0"))).contains("variable"));
    let unresolved = EnvSpec { value_from: Some(EnvFrom { pod_env: "HOME".into() }), ..variable("A", "") };
    assert!(refusal(|s| s.containers[0].process.env.push(unresolved)).contains("unresolved"));
    let limit = RlimitSpec { name: "NOFILE".into(), soft: 1, hard: 1 };
    assert!(refusal(|s| s.containers[0].process.rlimits.push(limit)).contains("resource limit"));
    let mount = |path: &str, name: &str| MountSpec {
        guest_path: path.into(),
        source: MountSource::Anonymous { name: name.into() },
        read_only: false,
    };
    assert!(refusal(|s| s.containers[0].mounts.push(mount("relative", "v"))).contains("mount path"));
    assert!(refusal(|s| s.containers[0].mounts.push(mount("/x", "../v"))).contains("volume name"));
    let twice = |s: &mut LaunchSpec| {
        s.containers[0].mounts.push(mount("/x", "v"));
        s.containers[1].mounts.push(mount("/x", "v"));
    };
    assert!(refusal(twice).contains("volume name"));
}

#[test]
fn disks_are_named_as_the_kernel_does() {
    assert_eq!(disk_device(0), "/dev/vda");
    assert_eq!(disk_device(25), "/dev/vdz");
    assert_eq!(disk_device(26), "/dev/vdaa");
    assert_eq!(disk_device(53), "/dev/vdbb");
    assert_eq!(disk_device(MAX_DISKS - 1), "/dev/vdzz");
}

#[test]
fn named_volumes_have_disks() {
    let volume = |name: &str, subpath: Option<&str>| MountSpec {
        guest_path: "/data".into(),
        source: MountSource::Volume {
            name: name.into(),
            subpath: subpath.map(str::to_owned),
            no_copy: false,
        },
        read_only: false,
    };
    let disk = |name: &str| DiskSpec::Volume { name: name.into(), whole: false, read_only: false };
    let mut spec = pod(vec![container("a"), container("b")]);
    spec.disks.push(disk("db"));
    spec.containers[0].mounts.push(volume("db", None));
    spec.containers[1].mounts.push(volume("db", Some("a/b")));
    check(&spec).unwrap();
    assert!(
        refusal(|spec| spec.containers[0].mounts.push(volume("db", None)))
            .contains("no disk or share for volume")
    );
    assert!(refusal(|spec| spec.disks.extend([disk("x"), disk("x")])).contains("volume name"));
    assert!(refusal(|spec| spec.disks.push(disk("../x"))).contains("volume name"));
    let empty = |spec: &mut LaunchSpec| {
        spec.disks.push(disk("x"));
        spec.containers[0].mounts.push(volume("x", Some("")));
    };
    assert!(refusal(empty).contains("subpath"));
}

#[test]
fn a_bound_pod_has_nothing_that_the_host_could_change() {
    let root = || Some(VeritySpec { root: "5a".repeat(32), data_blocks: 512 });
    let images = |count| vec![DiskSpec::Image { verity: root() }; count];
    let mut spec = pod(vec![container("a")]);
    // A pod like any other, in a machine like any other; in an SNP guest it is refused.
    bound(&spec, false).unwrap();
    assert!(bound(&spec, true).unwrap_err().starts_with("disk 0 is not checked"));
    spec.disks = vec![DiskSpec::Image { verity: None }];
    bound(&spec, false).unwrap();
    bound(&spec, true).unwrap_err();

    spec.disks = images(2);
    for snp in [false, true] {
        spec.disks = images(2);
        bound(&spec, snp).unwrap();
        let volume = DiskSpec::Volume { name: "v".into(), whole: false, read_only: true };
        for other in [DiskSpec::Scratch, volume, DiskSpec::Image { verity: None }] {
            spec.disks = images(2);
            spec.disks.push(other);
            assert!(bound(&spec, snp).unwrap_err().starts_with("disk 2 is not checked"));
        }
        for unsound in ["5A".repeat(32), "5a".repeat(31), format!("{} - 0", "5a".repeat(29))] {
            spec.disks =
                vec![DiskSpec::Image { verity: Some(VeritySpec { root: unsound, data_blocks: 512 }) }];
            bound(&spec, snp).unwrap_err();
        }
        spec.disks = images(1);
        let share = ShareSpec { tag: "s".into(), read_only: true, volume: None, untrusted: false };
        spec.shares = vec![share];
        assert!(bound(&spec, snp).unwrap_err().starts_with("share \"s\" is not marked untrusted"));
        spec.shares[0].untrusted = true;
        bound(&spec, snp).unwrap();
        spec.shares.clear();
    }
}

//! Pod files that are converted, and those that are refused.

use super::*;
use pod::RestartPolicy;

fn plan() -> Plan {
    Plan {
        id: None,
        cpus: Cpus { count: 1, millis: None },
        memory: 1,
        disk_size: 1,
        volume_size: 0,
        devices: BTreeMap::new(),
        restart: RestartPolicy::No,
        labels: std::collections::BTreeMap::new(),
        network: spec::launch::NetworkSpec::default(),
        networking: pod::Networking::default(),
        addresses: crate::network::addresses::Addresses::default(),
        containers: Vec::new(),
    }
}

fn read(bytes: &[u8]) -> Result<Plan, String> {
    let mut plan = plan();
    let line = |error: PodFileError| Failure::from(anyhow::Error::from(error)).line();
    convert(parse(bytes).map_err(line)?, &mut plan).map_err(line)?;
    Ok(plan)
}

fn env(name: &str, value: &str, from: Option<&str>) -> EnvChange {
    let value_from = from.map(|name| EnvFrom { pod_env: name.to_owned() });
    EnvChange::Set(EnvSpec { name: name.to_owned(), value: value.to_owned(), value_from })
}

#[test]
fn a_launch_intent_is_converted() {
    let plan = read(include_bytes!("../../../tests/fixtures/nextcloud.yaml")).unwrap();
    assert_eq!((plan.cpus.count, plan.memory), (2, 1024));
    assert_eq!(plan.labels[ID_LABEL], "0c7f2a4e-5b0d-4f5e-9a55-3f0c1d0f7a11");
    let [keys, cloud, db] = &plan.containers[..] else { panic!("{:?}", plan.containers) };
    assert_eq!(keys.image, "registry.example.org/public/keys");
    assert_eq!(keys.overrides.entrypoint, Some(vec![]));
    assert_eq!(keys.overrides.cmd, ["/bin/keys", "--once"]);
    assert_eq!(keys.overrides.lifecycle.before, "volumes");
    assert!(keys.overrides.lifecycle.critical);
    assert_eq!(cloud.overrides.entrypoint, None);
    assert_eq!(cloud.overrides.env[2], env("POSTGRES_PASSWORD", "", Some("POSTGRES_PASSWORD")));
    assert_eq!(db.overrides.env, [env("POSTGRES_PASSWORD", "", Some("POSTGRES_PASSWORD"))]);
    assert_eq!(db.overrides.user.as_deref(), Some("999"));
    assert_eq!((db.overrides.lifecycle.restart_delay, db.overrides.lifecycle.max_restarts), (500, 3));
}

#[test]
fn a_launch_json_is_converted() {
    let plan = read(include_bytes!("../../../tests/fixtures/launch.json")).unwrap();
    assert_eq!(plan.network.nameservers, ["9.9.9.9"]);
    assert_eq!(plan.network.search_domain, "pods.example.org");
    let [web, sidecar] = &plan.containers[..] else { panic!("{:?}", plan.containers) };
    assert_eq!(web.overrides.workdir.as_deref(), Some("/srv"));
    assert!(web.overrides.lifecycle.restart_on_success && web.overrides.lifecycle.restart_on_failure);
    assert!(
        sidecar.overrides.tty && sidecar.overrides.cmd.is_empty() && sidecar.overrides.entrypoint.is_none()
    );
}

#[test]
fn our_own_fields_are_converted() {
    let plan = read(include_bytes!("../../../tests/fixtures/shop.yaml")).unwrap();
    assert_eq!((plan.restart, plan.disk_size), (RestartPolicy::OnFailure(2), 1 << 30));
    assert_eq!(plan.labels["team"], "shop");
    let web = &plan.containers[0].overrides;
    assert_eq!(web.hostname, "shop");
    assert!(web.read_only && web.stdin && web.init);
    assert_eq!(web.tmpfs, ["/run", "/var/cache/nginx:size=16m"]);
    assert_eq!(web.stop_timeout, Some(3));
    assert_eq!(web.labels["tier"], "front");
    let health = web.health.as_ref().unwrap();
    assert_eq!(health.test, ["CMD", "curl", "-f", "localhost"]);
    assert_eq!((health.interval, health.start_period, health.retries), (90_000_000_000, 0, 2));
}

#[test]
fn volumes_are_devices_or_of_the_store() {
    let plan = read(include_bytes!("../../../tests/fixtures/volumes.yaml")).unwrap();
    assert_eq!(plan.devices["data"], PathBuf::from("/dev/volumes/data"));
    assert!(!plan.needs_volumes());
    let [(target, wish)] = &plan.containers[0].mounts[..] else { panic!("{:?}", plan.containers) };
    assert_eq!(target, "/var/lib/postgresql/data");
    let expected =
        VolumeWish { name: Some("data".into()), subpath: Some("db".into()), ..VolumeWish::default() };
    assert_eq!(*wish, Wish::Volume(expected));
    let text = r#"{"volumes": [{"name": "data"}], "containers": [
        {"image": {"ref": "a"}, "volumeMounts": [{"volumeName": "data", "guestPath": "/x/", "readOnly": true}]}]}"#;
    let plan = read(text.as_bytes()).unwrap();
    assert!(plan.devices.is_empty() && plan.needs_volumes());
    assert!(
        matches!(&plan.containers[0].mounts[0], (target, Wish::Volume(wish)) if target == "/x" && wish.read_only)
    );
}

#[test]
fn what_cannot_be_obeyed_is_refused_by_name() {
    for (text, message) in [
        ("volumes: [{name: a}]", "volumes[0].name: \"a\" is no name of a volume"),
        (
            "volumes: [{name: ab}, {name: ab}]",
            "volumes[1].name: \"ab\" is no name of a volume, or comes twice",
        ),
        ("volumes: [{name: ab, devicePath: sda}]", "volumes[0].devicePath: \"sda\" is no absolute path"),
        ("network: {tip4: [10.0.0.2, 10.0.0.3]}", "network.tip4: a pod has one address of a family"),
        ("network: {fgw6: 'fd00::1'}", "network.fgw6: a gateway needs an address"),
        ("network: {tip4: [x]}", "network.tip4: \"x\" is no IPv4 address"),
        (
            "containers: [{image: {ref: a}, volumeMounts: [{guestPath: /x}]}]",
            "containers[0].volumeMounts[0].volumeName: missing",
        ),
        (
            "containers: [{image: {ref: a}, kernelMounts: [{guestPath: /x}]}]",
            "containers[0].kernelMounts: mounts",
        ),
        (
            "containers: [{image: {ref: a}, bindMounts: [{guestPath: /x}]}]",
            "containers[0].bindMounts: mounts",
        ),
        ("containers: [{image: {layers: [{id: x}]}}]", "containers[0].image.ref: missing; layers"),
        ("containers: [{}]", "containers[0].image.ref: missing"),
        (
            "containers: [{image: {ref: a}, lifecycle: {before: boot}}]",
            "containers[0].lifecycle.before: \"boot\"",
        ),
        ("containers: [{image: {ref: a}, process: {env: [{value: x}]}}]", "process.env[0].name: missing"),
        (
            "containers: [{image: {ref: a}, healthcheck: {timeout: '5'}}]",
            "containers[0].healthcheck.timeout: time: missing unit in duration \"5\"",
        ),
        (
            "containers: [{image: {ref: a}, healthcheck: {startPeriod: '-5s'}}]",
            "containers[0].healthcheck.startPeriod: \"-5s\" is negative",
        ),
        ("restart: never", "restart: \"never\" is no restart policy"),
        ("diskSize: big", "diskSize: \"big\" is no size"),
        ("resources: {cpu: 64}", "resources.cpu: 64 is over the limit"),
        ("containres: []", "containres"),
        ("resources: {cpu: -1}", "not a pod file: resources.cpu"),
        ("apiVersion: v1\nkind: Pod", "apiVersion \"v1\", kind \"Pod\" is not"),
        ("a: &a [x]\n---\nb: 1", "not a pod file"),
        ("- a", "not a pod file"),
        ("{", "not a pod file"),
    ] {
        let error = read(text.as_bytes()).err().unwrap_or_else(|| panic!("{text} was taken"));
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn aliases_cannot_blow_a_file_up() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", ")));
    }
    assert!(read(text.as_bytes()).is_err());
}

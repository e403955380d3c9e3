//! Tables of images and wishes.

use std::collections::BTreeMap;

use super::*;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn image() -> ImageSpec {
    ImageSpec { reference: "a".into(), digest: String::new(), disk: 0, writable: Writable::Disk(1) }
}

fn config(config: RunConfig) -> ImageConfig {
    ImageConfig { config, ..ImageConfig::default() }
}

fn overrides() -> ContainerOverrides {
    ContainerOverrides { name: "box".into(), ..ContainerOverrides::default() }
}

#[test]
fn commands_are_merged_as_docker_does() {
    type Case = (
        &'static [&'static str],
        &'static [&'static str],
        Option<&'static [&'static str]>,
        &'static [&'static str],
    );
    let table: [(Case, &[&str]); 8] = [
        ((&[], &["sh"], None, &[]), &["sh"]),
        ((&["run"], &["a"], None, &[]), &["run", "a"]),
        ((&["run"], &["a"], None, &["b", "c"]), &["run", "b", "c"]),
        ((&["run"], &["a"], Some(&["other"]), &[]), &["other"]),
        ((&["run"], &["a"], Some(&["other"]), &["b"]), &["other", "b"]),
        ((&["run"], &["a"], Some(&[""]), &["b"]), &["b"]),
        ((&["run"], &["a"], Some(&[]), &["b"]), &["b"]),
        ((&[], &[], None, &["b"]), &["b"]),
    ];
    for ((entrypoint, cmd, new_entrypoint, new_cmd), expected) in table {
        let config =
            config(RunConfig { entrypoint: words(entrypoint), cmd: words(cmd), ..RunConfig::default() });
        let overrides =
            ContainerOverrides { entrypoint: new_entrypoint.map(words), cmd: words(new_cmd), ..overrides() };
        assert_eq!(container_spec(&config, image(), &overrides).unwrap().process.cmd, expected);
    }
}

#[test]
fn an_image_without_a_command_needs_one() {
    let config =
        config(RunConfig { entrypoint: words(&["run"]), cmd: words(&["a"]), ..RunConfig::default() });
    let overrides = ContainerOverrides { entrypoint: Some(words(&[""])), ..overrides() };
    assert_eq!(container_spec(&config, image(), &overrides), Err(ContainerError::NoCommand));
}

#[test]
fn the_images_wishes_stand_until_overridden() {
    let config = config(RunConfig {
        cmd: words(&["sh"]),
        user: "www".into(),
        working_dir: "srv//x".into(),
        stop_signal: "SIGQUIT".into(),
        ..RunConfig::default()
    });
    let spec = container_spec(&config, image(), &overrides()).unwrap();
    assert_eq!((spec.process.user.as_str(), spec.process.workdir.as_str()), ("www", "/srv/x"));
    assert_eq!((spec.process.stop_signal, spec.process.stop_timeout), (3, STOP_TIMEOUT));
    assert_eq!(
        (spec.hostname.as_str(), spec.image.writable, spec.shm_size),
        ("box", Writable::Disk(1), SHM_SIZE)
    );

    let wishes = ContainerOverrides {
        user: Some("0:0".into()),
        workdir: Some("/".into()),
        stop_signal: Some("9".into()),
        stop_timeout: Some(1),
        hostname: "host".into(),
        read_only: true,
        ..overrides()
    };
    let spec = container_spec(&config, image(), &wishes).unwrap();
    assert_eq!((spec.process.user.as_str(), spec.process.workdir.as_str()), ("0:0", "/"));
    assert_eq!((spec.process.stop_signal, spec.process.stop_timeout), (9, 1));
    assert_eq!((spec.hostname.as_str(), spec.image.writable), ("host", Writable::ReadOnly));
}

#[test]
fn labels_of_the_user_win() {
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let config = config(RunConfig {
        cmd: words(&["x"]),
        labels: pairs(&[("a", "image"), ("b", "image")]),
        ..RunConfig::default()
    });
    let overrides = ContainerOverrides { labels: pairs(&[("b", "user"), ("c", "")]), ..overrides() };
    let spec = container_spec(&config, image(), &overrides).unwrap();
    assert_eq!(spec.labels, pairs(&[("a", "image"), ("b", "user"), ("c", "")]));
}

#[test]
fn volumes_become_anonymous_mounts_below_their_parents() {
    let volumes = ["/data/deep", "/data", "/run/"].map(|path| (path.to_owned(), serde_json::Value::Null));
    let config =
        config(RunConfig { cmd: words(&["sh"]), volumes: BTreeMap::from(volumes), ..RunConfig::default() });
    let wishes = ContainerOverrides { tmpfs: words(&["/run:ro", "/run"]), ..overrides() };
    let mounts = container_spec(&config, image(), &wishes).unwrap().mounts;
    let paths: Vec<_> = mounts.iter().map(|mount| mount.guest_path.as_str()).collect();
    assert_eq!(paths, ["/run", "/data", "/data/deep"]);
    assert!(matches!(mounts[0].source, MountSource::Tmpfs { .. }) && !mounts[0].read_only);
    assert!(matches!(&mounts[1].source, MountSource::Anonymous { name } if name.starts_with("box-")));
    assert_ne!(mounts[1].source, mounts[2].source);
}

#[test]
fn hostile_configurations_are_refused() {
    let sh = || RunConfig { cmd: words(&["sh"]), ..RunConfig::default() };
    let refused = |config: RunConfig, wishes: &ContainerOverrides| {
        container_spec(&ImageConfig { config, ..ImageConfig::default() }, image(), wishes).unwrap_err()
    };
    let nul = RunConfig { cmd: words(&["a\0b"]), ..RunConfig::default() };
    assert_eq!(refused(nul, &overrides()), ContainerError::Nul("the command"));
    for path in ["/", "relative", "/a/.."] {
        let volumes = BTreeMap::from([(path.to_owned(), serde_json::Value::Null)]);
        let error = refused(RunConfig { volumes, ..sh() }, &overrides());
        assert_eq!(error, ContainerError::Volume(path.to_owned()));
    }
    let volumes = (0..=MAX_VOLUMES).map(|n| (format!("/{n}"), serde_json::Value::Null)).collect();
    let many = refused(RunConfig { volumes, ..sh() }, &overrides());
    assert_eq!(many, ContainerError::TooMany(MAX_VOLUMES + 1, "volumes", MAX_VOLUMES));
    let env = vec!["A=b".to_owned(); MAX_ENV + 1];
    let many = refused(RunConfig { env, ..sh() }, &overrides());
    assert_eq!(many, ContainerError::TooMany(MAX_ENV + 1, "variables", MAX_ENV));
    let wishes = ContainerOverrides { workdir: Some("x".into()), ..overrides() };
    assert_eq!(refused(sh(), &wishes), ContainerError::Workdir("x".into()));
    for name in ["", "../x", ".x", "a/b"] {
        let wishes = ContainerOverrides { name: name.into(), ..overrides() };
        assert_eq!(refused(sh(), &wishes), ContainerError::Name(name.into()));
    }
}

//! What is decided before a boot.

use spec::launch::{EnvFrom, EnvSpec};

use super::*;

fn launch(processes: &[(bool, bool)]) -> LaunchSpec {
    let container = |(index, (stdin, tty)): (usize, &(bool, bool))| {
        serde_json::json!({
            "name": format!("c{index}"),
            "image": {"ref": "i", "digest": "", "disk": 0, "writable": "readOnly"},
            "process": {"cmd": ["x"], "workdir": "/", "tty": tty, "stdin": stdin, "capabilities": [],
                        "stopSignal": 15, "stopTimeout": 10},
            "hostname": "h", "shmSize": 0
        })
    };
    let containers: Vec<_> = processes.iter().enumerate().map(container).collect();
    let json = serde_json::json!({
        "version": 1, "id": "0", "resources": {"cpu": 1, "mem": 64}, "disks": [], "containers": containers
    });
    serde_json::from_value(json).unwrap()
}

#[test]
fn variables_come_from_the_environment_of_the_run() {
    let mut spec = launch(&[(false, false)]);
    let from = EnvFrom { pod_env: "OUTER".to_owned() };
    spec.containers[0].process.env =
        vec![EnvSpec { name: "INNER".to_owned(), value: "default".to_owned(), value_from: Some(from) }];
    let error = resolve_environment(&mut spec.clone(), &|_| None).unwrap_err().line();
    assert!(error.contains("INNER") && error.contains("OUTER") && error.contains("c0"), "{error}");
    resolve_environment(&mut spec, &|name| (name == "OUTER").then(|| "secret".to_owned())).unwrap();
    let variable = &spec.containers[0].process.env[0];
    assert_eq!((variable.value.as_str(), &variable.value_from), ("secret", &None));
}

#[test]
fn input_goes_to_the_first_that_keeps_it_open() {
    let attached = Attached::of(&launch(&[(false, false), (true, false), (true, false)])).unwrap();
    assert_eq!((attached.stdin, attached.tty, attached.raw), (Some(1), None, false));
    let attached = Attached::of(&launch(&[(false, true)])).unwrap();
    assert_eq!((attached.stdin, attached.tty, attached.raw), (None, Some(0), false));
}

#[test]
fn a_run_may_open_as_many_files_as_it_may() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    raise_descriptor_limit().unwrap();
    assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: maximum, maximum });
}

//! Names of containers, under requests that come at the same time.

use std::thread;

use crate::host::Host;

#[test]
fn a_name_that_is_given_up_is_free_and_one_that_is_taken_is_not() {
    let host = Host::with_image();
    let id = host.good(&["create", "--name", "first", "made:1"]);
    for round in 0..5 {
        let names: Vec<_> = (0..8).map(|number| format!("name-{round}-{number}")).collect();
        thread::scope(|scope| {
            for name in &names {
                scope.spawn(|| host.good(&["rename", &id, name]));
            }
        });
        let now = host.good(&["inspect", "--format", "{{.Name}}", &id]);
        let now = now.trim_start_matches('/');
        assert!(names.iter().any(|name| name == now), "{now}");
        assert!(host.refused(&["create", "--name", now, "made:1"]).contains("is already in use"));
        for name in names.iter().filter(|name| *name != now) {
            host.good(&["create", "--name", name, "made:1"]);
            host.good(&["rm", name]);
        }
    }
    host.good(&["rm", &id]);
    assert_eq!(host.good(&["ps", "-aq"]), "");
}

#[test]
fn what_is_removed_does_not_come_back() {
    let mut host = Host::with_image();
    for round in 0..10 {
        let id = host.good(&["create", "--name", "web", "-v", "/data", "made:1"]);
        thread::scope(|scope| {
            // Either may come first.
            scope.spawn(|| host.run(&["rename", &id, &format!("other-{round}")]));
            scope.spawn(|| host.good(&["rm", "-v", &id]));
        });
    }
    host.resume();
    assert_eq!(host.good(&["ps", "-aq"]), "");
    assert_eq!(host.good(&["volume", "ls", "-q"]), "");
    for name in (0..10).map(|round| format!("other-{round}")).chain(["web".to_owned()]) {
        host.good(&["create", "--name", &name, "made:1"]);
    }
    assert_eq!(std::fs::read_dir(host.path("state/pods")).unwrap().count(), 11);
}

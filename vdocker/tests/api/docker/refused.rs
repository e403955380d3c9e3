//! What a pod does not do is refused in words.

use vdocker::Verb;

use crate::pod::{Pod, spec_json};

#[test]
fn what_a_pod_cannot_do_is_refused_in_words() {
    let pod = Pod::of(&["sleep", "1000"]);
    for (arguments, words) in [
        (
            &["rename", "web", "other"][..],
            "cannot rename container web: its name is part of its pod's specification",
        ),
        (&["rm", "-f", "web"], "cannot remove container web: it lives as long as its pod"),
        (&["create", "busybox"], "a pod has the containers that it was summoned with"),
        (&["pull", "busybox"], "a pod has the images of its containers and no others"),
        (&["commit", "web", "x"], "a pod has the images"),
        (&["volume", "create", "v"], "a pod has the volumes of its containers"),
        (&["network", "create", "n"], "share the network of the pod"),
        (&["container", "prune", "-f"], "there is nothing to prune"),
        (&["swarm", "init"], "a pod is in no swarm"),
        (&["system", "df"], "docker ps --size"),
        (&["exec", "cradle", "true"], "is the pod's guest itself, not a container"),
        (&["pause", "cradle"], "is the pod's guest itself, not a container"),
        (&["rename", "nobody", "other"], "No such container: nobody"),
        (&["rmi", "busybox:1"], "a pod has the images"),
        (&["tag", "busybox:1", "other"], "a pod has the images"),
        (&["network", "rm", "n"], "share the network of the pod"),
        (&["volume", "rm", "v"], "a pod has the volumes of its containers"),
        (&["image", "inspect", "nothing"], "No such image: nothing"),
        (&["network", "inspect", "n"], "network n not found"),
        (&["volume", "inspect", "v"], "get v: no such volume"),
        (&["inspect", "nobody"], "No such object: nobody"),
    ] {
        let done = pod.docker(arguments);
        assert!(done.code != 0 && done.stderr.contains(words), "{arguments:?}: {done:?}");
    }
}

#[test]
fn a_policy_denies_with_its_reason() {
    let denied = vec![Verb::Exec, Verb::Kill, Verb::WriteFiles, Verb::Events, Verb::Attach];
    let pod = Pod::with_policy(vec![spec_json("web", &["sleep", "1000"])], denied);
    for (arguments, words) in [
        (&["exec", "web", "true"][..], "Exec is not for you"),
        (&["kill", "web"], "Kill is not for you"),
        (&["cp", "/etc/hostname", "web:/x"], "WriteFiles is not for you"),
        (&["events", "--until", "0s"], "Events is not for you"),
    ] {
        let done = pod.docker(arguments);
        assert!(done.code != 0 && done.stderr.contains(words), "{arguments:?}: {done:?}");
    }
    assert_eq!(pod.request("POST", "/containers/web/kill", "").0, 403);
    // What was written before are the logs, which are not denied.
    for (wanted, status) in [("stream=1", 403), ("logs=1&stream=1", 403), ("logs=1", 200)] {
        assert_eq!(
            pod.request("POST", &format!("/containers/web/attach?stdout=1&{wanted}"), "").0,
            status,
            "{wanted}"
        );
    }
    assert_eq!(pod.ok(&["ps", "-q"]).lines().count(), 1, "what is not denied is done");
}

#[test]
fn all_capabilities_are_denied_by_themselves() {
    let pod = Pod::with_policy(vec![spec_json("web", &["sleep", "1000"])], vec![Verb::ExecPrivileged]);
    let done = pod.docker(&["exec", "--privileged", "web", "true"]);
    assert!(done.code != 0 && done.stderr.contains("ExecPrivileged is not for you"), "{done:?}");
    pod.ok(&["exec", "web", "true"]);
}

#[test]
fn the_pods_end_is_denied_under_all_its_names() {
    let pod = Pod::with_policy(vec![spec_json("web", &["sleep", "1000"])], vec![Verb::Shutdown]);
    for target in ["/cradle/shutdown", "/containers/cradle/stop", "/containers/host/kill"] {
        let (status, body) = pod.request("POST", target, "");
        assert!(status == 403 && body.contains("Shutdown is not for you"), "{target}: {status} {body}");
    }
    pod.ok(&["stop", "-t", "0", "web"]);
    assert_eq!(pod.end(false).reason, None);
}

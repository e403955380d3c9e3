//! `ls`, `rm`, `stop`, `image`, `check`, `completions` and the help texts.

use std::fs;

use serde_json::Value;

use crate::host::{Host, end};

#[test]
fn a_pod_is_listed_until_it_is_removed_and_its_image_kept_until_then() {
    let host = Host::new();
    host.summon("pod", &["--label", "tier=front"], &[]);
    let dir = host.path("pod").canonicalize().unwrap().display().to_string();
    assert_eq!(host.good(&["ls", "-q"]), format!("{dir}\n"));
    let list: Value = serde_json::from_str(&host.good(&["ls", "--json"])).unwrap();
    assert_eq!((&list[0]["dir"], &list[0]["status"]), (&dir.into(), &"created".into()));
    assert_eq!(list[0]["labels"]["tier"], "front");
    assert!(list[0]["created"].as_str().unwrap().ends_with('Z'));

    host.good(&["image", "prune", "--all"]);
    let images: Value = serde_json::from_str(&host.good(&["image", "ls", "--json"])).unwrap();
    assert_eq!(images.as_array().unwrap().len(), 1, "{images}");

    assert_eq!(host.good(&["stop", "pod"]), "pod\n");
    host.good(&["rm", "pod"]);
    assert!(!host.path("pod").exists());
    assert_eq!(host.good(&["ls", "-q"]), "");
    let pruned: Value = serde_json::from_str(&host.good(&["image", "prune", "--all", "--json"])).unwrap();
    assert_eq!(pruned["layers"], 1, "{pruned}");
    assert_eq!(host.good(&["image", "ls", "-q"]), "");
}

#[test]
fn rm_keeps_what_is_not_the_pods() {
    let host = Host::new();
    host.summon("pod", &[], &[]);
    fs::write(host.path("pod/notes.txt"), "mine").unwrap();
    host.good(&["rm", "pod"]);
    assert_eq!(fs::read(host.path("pod/notes.txt")).unwrap(), b"mine");
    let error = host.refused(&["rm", "pod"], 1);
    assert!(error.contains("is no pod"), "{error}");
    host.refused(&["rm", "gone"], 1);
    host.good(&["rm", "-f", "gone"]);
}

#[test]
fn rm_takes_what_killed_processes_left() {
    let host = Host::new();
    host.summon("pod", &[], &[]);
    fs::write(host.path("pod/state.json.tmp"), "{\"ver").unwrap();
    fs::write(host.path("pod/pid.tmp"), "").unwrap();
    host.good(&["rm", "pod"]);
    assert!(!host.path("pod").exists());
}

#[test]
fn who_ends_a_pod_that_is_missing_is_not_told_to_make_one() {
    let host = Host::new();
    for command in ["stop", "rm"] {
        let error = host.refused(&[command, "gone"], 1);
        assert!(error.contains("there is no pod at"), "{error}");
        assert!(error.contains("hint: `kcradle ls`") && !error.contains("summon"), "{error}");
    }
}

#[test]
fn who_asks_for_a_container_of_a_pod_that_does_not_run_is_told_how_to_start_it() {
    let host = Host::new();
    host.summon("pod", &[], &[]);
    for arguments in [
        &["logs", "pod"][..],
        &["attach", "pod"],
        &["exec", "pod", "true"],
        &["cp", "pod:/etc", "."],
        &["cp", ".", "pod:/etc"],
        &["ps", "pod"],
        &["top", "pod"],
        &["stats", "pod"],
        &["inspect", "pod"],
    ] {
        let error = host.refused(arguments, 1);
        assert!(error.contains("the pod pod does not run\nhint: start it with `kcradle run pod`"), "{error}");
    }
    assert!(host.refused(&["logs", "gone"], 1).contains("hint: `kcradle ls` lists the pods"));
    assert!(host.refused(&["cp", "a", "b"], 1).contains("neither of the two is in a pod"));
    assert!(
        host.refused(&["cp", "pod:/a", "pod:/b"], 1).contains("copying between containers is not supported")
    );
}

#[test]
fn an_image_is_removed_by_name() {
    let host = Host::new();
    host.summon("pod", &[], &[]);
    host.good(&["rm", "pod"]);
    host.good(&["image", "rm", "app:1"]);
    let error = host.refused(&["image", "rm", "app:1"], 1);
    assert!(error.contains("app:1"), "{error}");
}

#[test]
fn check_says_whether_pods_can_run() {
    let host = Host::new();
    let ended = host.kcradle(&["check", "--json"]);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let code = ended.code;
    assert_eq!(code, Some(if report["fit"] == true { 0 } else { 1 }));
    let kvm = &report["findings"].as_array().unwrap()[0];
    assert_eq!(kvm["name"], "KVM");
    let modules = |name: &str| std::path::Path::new("/sys/module").join(name).exists();
    if modules("kvm_pvm") && !modules("kvm_intel") && !modules("kvm_amd") {
        assert!(kvm["detail"].as_str().unwrap().contains("kvm_pvm"), "{kvm}");
    }
    if kvm["level"] != "ok" {
        assert!(kvm["remedy"].is_string(), "{kvm}");
        assert_eq!(ended.code, Some(1));
    }
    let networks = &report["findings"].as_array().unwrap()[4];
    assert_eq!(networks["name"], "networks");
    assert_eq!(networks["level"] == "ok", networks["remedy"].is_null(), "{networks}");

    // Networks and shares are not everybody's: without them a host is as fit as with them.
    for (program, level, words) in [("/bin/true", "ok", "/bin/true"), ("/nowhere", "warning", "no program")] {
        let ended = end(host.command(&["check", "--json"]).env("CRADLE_VIRTIOFSD", program));
        let found: Value = serde_json::from_str(&ended.out).unwrap();
        let finding = &found["findings"].as_array().unwrap()[5];
        assert_eq!((&finding["name"], &finding["level"]), (&"virtiofsd".into(), &level.into()), "{finding}");
        assert!(finding["detail"].as_str().unwrap().contains(words), "{finding}");
        assert_eq!((&found["fit"], ended.code), (&report["fit"], code));
    }
    fs::remove_file(host.path("package/cradle.json")).unwrap();
    let ended = host.kcradle(&["check"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.out.contains("MISSING  runtime package") && ended.out.contains("CRADLE_PKG"),
        "{}",
        ended.out
    );
}

#[test]
fn every_command_explains_itself() {
    let host = Host::new();
    for command in [
        &["summon"][..],
        &["run"],
        &["ls"],
        &["stop"],
        &["rm"],
        &["image", "ls"],
        &["image", "rm"],
        &["image", "prune"],
        &["check"],
        &["completions"],
    ] {
        let help = host.good(&[command, &["--help"]].concat());
        assert!(help.contains("Usage: kcradle") && help.contains("Examples:"), "{help}");
    }
    assert!(host.good(&["--help"]).contains("kcradle summon ./hello busybox"));
    assert!(host.good(&["--version"]).starts_with("kcradle "));
    assert_eq!(host.kcradle(&["nonsense"]).code, Some(2));
    for shell in ["bash", "zsh", "fish"] {
        assert!(host.good(&["completions", shell]).contains("summon"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_gone_and_a_full_disk_are_no_panic() {
    let print = |stdout: std::process::Stdio| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kcradle"));
        let output = command.args(["completions", "bash"]).stdout(stdout).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(print(writer.into()), (Some(141), String::new()));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let (code, error) = print(full.into());
    assert_eq!(code, Some(1));
    assert!(error.starts_with("kcradle: cannot write to standard output: No space left"), "{error}");
}

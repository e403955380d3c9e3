//! Registries that behave: every form of image and login, and transfers that break and go on.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, Once};
use std::thread;
use std::time::Duration;

use image::{Event, Origin, Progress, PullPolicy, ResolveOptions, Source, resolve};
use serde_json::json;

use crate::sample::{
    Events, OCI_LAYER, OCI_MANIFEST, Sample, descriptor, failure, get, get_with, names, options, store, tar,
    zstd,
};
use crate::server::{Answer, Server, plain};

#[test]
fn a_name_comes_from_the_registry_once_and_then_from_the_store() {
    let sample = Sample::of("once");
    let server = Server::with(&sample, |_| None);
    let (_dir, store) = store();
    let name = format!("{}/a/b", server.host);
    let first = get(&store, &name).unwrap();
    assert_eq!(first.origin, Origin::Registry);
    assert_eq!(first.image.id(), sample.id());
    assert_eq!(first.image.manifest_digest(), Some(sample.digest()));
    assert_eq!(first.image.reference(), format!("{name}:latest"));
    assert_eq!(first.image.config().config.cmd, ["run"]);
    assert_eq!(first.image.extents().len(), 3);
    assert_eq!(first.image.disk_bytes(), 3 * (2 << 20));

    let asked = server.requests().len();
    let second = get(&store, &name).unwrap();
    assert_eq!((second.origin, server.requests().len()), (Origin::Store, asked));
    assert_eq!(second.image.extents(), first.image.extents());

    let by_digest = get(&store, &format!("{name}@{}", sample.digest())).unwrap();
    assert_eq!((by_digest.origin, server.requests().len()), (Origin::Store, asked));

    let always = ResolveOptions { pull: PullPolicy::Always, ..options() };
    assert_eq!(get_with(&store, &name, &always).unwrap().origin, Origin::Registry);
    assert!(sample.layers.iter().all(|layer| server.transfers(layer) == 1));
    let never = ResolveOptions { pull: PullPolicy::Never, ..options() };
    let error = get_with(&store, "elsewhere", &never).unwrap_err().to_string();
    assert_eq!(error, "no such image in the store: elsewhere:latest");
}

#[test]
fn layers_come_gzipped_in_zstd_or_plain_whatever_their_type_says() {
    let archives = [tar(&[("a", b"1")]), tar(&[("b", &[7; 300_000])]), tar(&[("c", b"3")])];
    let layers = vec![crate::sample::gzip(&archives[0]), zstd(&archives[1]), archives[2].clone()];
    let sample = Sample::with_layers(&archives, layers);
    let server = Server::with(&sample, |_| None);
    let (_dir, store) = store();
    let image = get(&store, &format!("docker://{}/mixed", server.host)).unwrap().image;
    assert_eq!(image.diff_ids().len(), 3);
}

#[test]
fn an_image_may_have_one_layer_twice() {
    let (twice, other) = (tar(&[("a", b"1")]), tar(&[("b", b"2")]));
    let sample = Sample::new(&[twice.clone(), other, twice]);
    let server = Server::with(&sample, |_| None);
    let (_dir, store) = store();
    let image = get(&store, &format!("{}/twice", server.host)).unwrap().image;
    assert_eq!(image.extents().len(), 4);
    assert_eq!(image.extents()[1], image.extents()[3]);
    assert_eq!(server.transfers(&sample.layers[0]), 1);
}

#[test]
fn docker_manifests_and_indexes_are_read_like_ocis() {
    let mut sample = Sample::of("docker");
    let text = String::from_utf8(sample.manifest).unwrap();
    let text = text
        .replace(OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
        .replace(OCI_LAYER, "application/vnd.docker.image.rootfs.diff.tar.gzip")
        .replace(
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.container.image.v1+json",
        );
    sample.manifest = text.into_bytes();
    let entry = |architecture: &str, bytes: &[u8]| {
        let mut entry = descriptor("application/vnd.docker.distribution.manifest.v2+json", bytes);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let index = json!({"schemaVersion": 2, "manifests": [entry("arm64", b"other"), entry("amd64", &sample.manifest)]});
    let index = index.to_string();
    let server = Server::with(&sample, move |request| {
        request.path.ends_with("/manifests/latest").then(|| Answer::ok(index.as_bytes()))
    });
    let (_dir, store) = store();
    let image = get(&store, &format!("{}/multi", server.host)).unwrap().image;
    assert_eq!((image.id(), image.manifest_digest()), (sample.id(), Some(sample.digest())));
    assert!(server.requests()[0].header("accept").contains("manifest.list.v2+json"));
}

#[test]
fn an_index_without_this_platform_says_which_it_has() {
    let sample = Sample::of("arm");
    let mut entry = descriptor(OCI_MANIFEST, b"other");
    entry["platform"] = json!({"os": "linux", "architecture": "arm64"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let server = Server::with(&sample, move |request| {
        request.path.ends_with("/manifests/latest").then(|| Answer::ok(index.as_bytes()))
    });
    let (_dir, store) = store();
    let error = failure(&store, get(&store, &format!("{}/arm", server.host)));
    assert!(error.ends_with("no image for linux/amd64, only for linux/arm64"), "{error}");
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let archive = tar(&[("big", &[9; 100_000])]);
    let sample = Sample::with_layers(std::slice::from_ref(&archive), vec![archive.clone()]);
    let layer = archive.clone();
    let server = Server::with(&sample, move |request| {
        let first = request.is_blob(&layer) && request.header("range").is_empty();
        first.then(|| Answer::ok(&layer).cut(40_000))
    });
    let (_dir, store) = store();
    let events = Events::default();
    let source: Source = format!("{}/cut", server.host).parse().unwrap();
    resolve(&store, &source, &options(), &events).unwrap();
    assert_eq!((server.transfers(&archive), events.count("Retry")), (2, 1));
    let last = server.requests().pop().unwrap();
    let from: usize = last.header("range")[6..].trim_end_matches('-').parse().unwrap();
    assert!((1..=40_000).contains(&from), "{from}");
}

#[test]
fn a_silent_transfer_is_begun_again() {
    let archive = tar(&[("big", &[9; 100_000])]);
    let sample = Sample::with_layers(std::slice::from_ref(&archive), vec![archive.clone()]);
    let layer = archive.clone();
    let server = Server::with(&sample, move |request| {
        let first = request.is_blob(&layer) && request.header("range").is_empty();
        first.then(|| Answer::ok(&layer).stall(40_000))
    });
    let (_dir, store) = store();
    let mut hasty = options();
    hasty.patience.idle = Duration::from_millis(100);
    get_with(&store, &format!("{}/silent", server.host), &hasty).unwrap();
    assert_eq!(server.transfers(&archive), 2);
}

#[test]
fn redirected_transfers_resume_and_keep_the_login_to_themselves() {
    let archive = tar(&[("big", &[9; 100_000])]);
    let sample = Sample::with_layers(std::slice::from_ref(&archive), vec![archive.clone()]);
    let stored = archive.clone();
    let storage = Server::new(move |request| match request.header("range") {
        "" => Answer::ok(&stored).cut(40_000),
        _ => Answer::range(request, &stored),
    });
    let (layer, elsewhere) = (archive.clone(), format!("http://{}/elsewhere", storage.host));
    let server = Server::with(&sample, move |request| {
        if request.header("authorization") != "Basic YTpi" {
            return Some(Answer::status(401).header("WWW-Authenticate", "Basic realm=\"x\""));
        }
        request.is_blob(&layer).then(|| Answer::status(307).header("Location", &elsewhere))
    });
    let config = tempfile::tempdir().unwrap();
    let json = json!({"auths": {&server.host: {"auth": "YTpi"}}}).to_string();
    fs::write(config.path().join("config.json"), json).unwrap();
    let known = ResolveOptions { docker_config: Some(config.path().into()), ..options() };
    let (_dir, store) = store();
    get_with(&store, &format!("{}/a", server.host), &known).unwrap();
    let requests = storage.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.header("authorization").is_empty()));
}

#[test]
fn a_registry_that_cannot_resume_is_asked_again_for_all() {
    let archive = tar(&[("big", &[9; 100_000])]);
    let sample = Sample::with_layers(std::slice::from_ref(&archive), vec![archive.clone()]);
    let (layer, count) = (archive.clone(), AtomicUsize::new(0));
    let server = Server::with(&sample, move |request| {
        let answer = || match count.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::ok(&layer).cut(40_000),
            _ => Answer::ok(&layer),
        };
        request.is_blob(&layer).then(answer)
    });
    let (_dir, store) = store();
    get(&store, &format!("{}/whole", server.host)).unwrap();
    assert_eq!(server.transfers(&archive), 2);
}

#[test]
fn passing_failures_are_tried_again() {
    let sample = Sample::of("busy");
    let asked: Mutex<HashMap<String, u32>> = Mutex::default();
    let server = Server::with(&sample, move |request| {
        let mut asked = asked.lock().unwrap();
        let times = asked.entry(request.path.clone()).or_default();
        *times += 1;
        (request.path != "/v2/" && *times < 3).then(|| Answer::status(503))
    });
    let (_dir, store) = store();
    get(&store, &format!("{}/busy", server.host)).unwrap();
}

#[test]
fn tokens_are_fetched_with_the_stored_login() {
    let sample = Sample::of("token");
    let host = std::sync::Arc::new(Mutex::new(String::new()));
    let told = host.clone();
    let server = Server::new(move |request| {
        let realm = format!("http://{}/token?x=y", told.lock().unwrap());
        if request.path.starts_with("/token") {
            let basic = request.header("authorization") == "Basic dXNlcjpwYXNz";
            let scope = request.path == "/token?x=y&service=it&scope=repository%3Aa%2Fb%3Apull";
            return if basic && scope { Answer::ok(br#"{"token":"t0k"}"#) } else { Answer::status(401) };
        }
        if request.header("authorization") != "Bearer t0k" {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"it\",scope=\"repository:x:push\"");
            return Answer::status(401).header("WWW-Authenticate", &challenge);
        }
        plain(&sample, request)
    });
    host.lock().unwrap().clone_from(&server.host);
    let (_dir, store) = store();
    let name = format!("{}/a/b", server.host);
    let error = failure(&store, get(&store, &name));
    assert!(error.contains("pull access denied") && error.contains("401"), "{error}");
    assert!(error.contains("registry\\u{1b}says"), "{error}");

    let config = tempfile::tempdir().unwrap();
    let json = json!({"auths": {&server.host: {"auth": "dXNlcjpwYXNz"}}}).to_string();
    fs::write(config.path().join("config.json"), json).unwrap();
    let known = ResolveOptions { docker_config: Some(config.path().into()), ..options() };
    get_with(&store, &name, &known).unwrap();
    let tokens = server.requests().iter().filter(|request| request.path.starts_with("/token")).count();
    assert_eq!(tokens, 2, "one refused, one kept for all requests");
}

#[test]
fn logins_without_tls_stay_on_this_machine() {
    let sample = Sample::of("realm");
    let config = tempfile::tempdir().unwrap();
    for realm in
        ["http://192.0.2.1/token", "http://localhost:80@192.0.2.1/token", "http://127.0.0.1.example/"]
    {
        let server = Server::with(&sample, move |request| {
            let challenge = format!("Bearer realm=\"{realm}\"");
            (request.path != "/v2/").then(|| Answer::status(401).header("WWW-Authenticate", &challenge))
        });
        let json = json!({"auths": {&server.host: {"auth": "dXNlcjpwYXNz"}}}).to_string();
        fs::write(config.path().join("config.json"), json).unwrap();
        let known = ResolveOptions { docker_config: Some(config.path().into()), ..options() };
        let (_dir, store) = store();
        let error = failure(&store, get_with(&store, &format!("{}/a", server.host), &known));
        assert!(error.contains("sent without TLS"), "{error}");
    }
}

#[test]
fn only_the_registry_itself_may_ask_for_its_login() {
    let sample = Sample::of("challenged");
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let thief = Server::new(move |request| {
        if request.path.starts_with("/token") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        let challenge = format!("Bearer realm=\"http://{}/token\"", request.header("host"));
        Answer::status(401).header("WWW-Authenticate", &challenge)
    });
    let (layer, elsewhere) = (sample.layers[0].clone(), format!("http://{}/elsewhere", thief.host));
    let server = Server::with(&sample, move |request| {
        request.is_blob(&layer).then(|| Answer::status(307).header("Location", &elsewhere))
    });
    let config = tempfile::tempdir().unwrap();
    let json = json!({"auths": {&server.host: {"auth": "dXNlcjpwYXNz"}}}).to_string();
    fs::write(config.path().join("config.json"), json).unwrap();
    let known = ResolveOptions { docker_config: Some(config.path().into()), ..options() };
    let (_dir, store) = store();
    let error = failure(&store, get_with(&store, &format!("{}/a", server.host), &known));
    assert!(error.contains("answered 401"), "{error}");
    assert_eq!((thief.requests().len(), asked.load(Ordering::SeqCst)), (1, 0));
}

#[test]
fn identity_tokens_are_exchanged() {
    let sample = Sample::of("identity");
    let host = std::sync::Arc::new(Mutex::new(String::new()));
    let told = host.clone();
    let server = Server::new(move |request| {
        if request.path == "/token" && request.method == "POST" {
            assert!(request.body.contains("grant_type=refresh_token"), "{}", request.body);
            assert!(request.body.ends_with("refresh_token=id%2Ftoken"), "{}", request.body);
            return Answer::ok(br#"{"access_token":"acc"}"#);
        }
        if request.header("authorization") != "Bearer acc" {
            let challenge = format!("Bearer realm=\"http://{}/token\"", told.lock().unwrap());
            return Answer::status(401).header("WWW-Authenticate", &challenge);
        }
        plain(&sample, request)
    });
    host.lock().unwrap().clone_from(&server.host);
    let config = tempfile::tempdir().unwrap();
    let json = json!({"auths": {&server.host: {"identitytoken": "id/token"}}}).to_string();
    fs::write(config.path().join("config.json"), json).unwrap();
    let (_dir, store) = store();
    let known = ResolveOptions { docker_config: Some(config.path().into()), ..options() };
    get_with(&store, &format!("{}/a", server.host), &known).unwrap();
}

/// The helper must be on the PATH, so the pull happens in a process of its own.
#[test]
fn credential_helpers_are_asked() {
    let sample = Sample::of("helper");
    let server = Server::with(&sample, |request| {
        let known = request.header("authorization") == "Basic YTpi";
        (!known).then(|| Answer::status(401).header("WWW-Authenticate", "Basic realm=\"x\""))
    });
    let dir = tempfile::tempdir().unwrap();
    let helper = dir.path().join("docker-credential-test");
    let script = format!(
        "#!/bin/sh\nread -r server || true\n[ \"$1 $server\" = 'get {}' ] || exit 1\n\
         echo '{{\"Username\":\"a\",\"Secret\":\"b\"}}'\n",
        server.host
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let json = json!({"credHelpers": {&server.host: "test"}}).to_string();
    fs::write(dir.path().join("config.json"), json).unwrap();
    let path = std::env::var("PATH").unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "registry::pull_for_the_helper_test", "--ignored", "--nocapture"])
        .env("PATH", format!("{}:{path}", dir.path().display()))
        .env("DOCKER_CONFIG", dir.path())
        .env("TEST_SOURCE", format!("{}/a", server.host))
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

#[test]
#[ignore = "the other half of credential_helpers_are_asked"]
fn pull_for_the_helper_test() {
    let (_dir, store) = store();
    let source = std::env::var("TEST_SOURCE").unwrap();
    get_with(&store, &source, &ResolveOptions { docker_config: None, ..options() }).unwrap();
}

/// Lets the registry answer only when the second pull waits for the first one.
struct Waiter {
    first: Once,
    waiting: Mutex<mpsc::Sender<()>>,
}

impl Progress for Waiter {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Waiting { .. }) {
            self.first.call_once(|| self.waiting.lock().unwrap().send(()).unwrap());
        }
    }
}

#[test]
fn two_pulls_of_one_image_share_the_work() {
    let sample = Sample::new(&[tar(&[("shared", b"x")])]);
    let (waiting, seen) = mpsc::channel();
    let (layer, seen) = (sample.layers[0].clone(), Mutex::new(seen));
    let server = Server::with(&sample, move |request| {
        if request.is_blob(&layer) {
            seen.lock().unwrap().recv().unwrap();
        }
        None
    });
    let (_dir, store) = store();
    let waiter = Waiter { first: Once::new(), waiting: Mutex::new(waiting) };
    let source: Source = format!("{}/shared", server.host).parse().unwrap();
    thread::scope(|scope| {
        let pulls = [(); 2].map(|()| scope.spawn(|| resolve(&store, &source, &options(), &waiter).unwrap()));
        for pull in pulls {
            assert_eq!(pull.join().unwrap().image.id(), sample.id());
        }
    });
    assert_eq!(server.transfers(&sample.layers[0]), 1);
    assert_eq!(names(&store.root().join("layers")).len(), 1);
}

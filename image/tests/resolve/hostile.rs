//! Registries that do not behave. Each failure has its cause on one line, leaves nothing half-made, and the next
//! try against a registry in order works.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use image::{Digest, Event, Progress, ResolveError, ResolveOptions, Source, resolve};
use serde_json::json;

use crate::sample::{
    OCI_LAYER, Sample, chain, descriptor, failure, get, get_with, gzip, names, options, store, tar,
};
use crate::server::{Answer, Request, Server};

/// Pulls from a registry that answers one request in its own way; then from one in order.
fn misbehave(
    sample: &Sample,
    special: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
) -> (String, Server) {
    let (_dir, store) = store();
    let server = Server::with(sample, special);
    let error = failure(&store, get(&store, &format!("{}/bad", server.host)));
    let honest = Server::with(sample, |_| None);
    get(&store, &format!("{}/bad", honest.host)).unwrap();
    (error, server)
}

#[test]
fn an_unknown_image_is_told_as_such() {
    let (error, server) = misbehave(&Sample::of("none"), |request| {
        request.path.contains("/manifests/").then(|| Answer::status(404))
    });
    let host = &server.host;
    let expected =
        format!("cannot pull {host}/bad:latest: manifest unknown: the registry {host} has no such image");
    assert_eq!(error, expected);
}

#[test]
fn a_refused_login_is_told_as_such() {
    for status in [401, 403] {
        let (error, _) = misbehave(&Sample::of("denied"), move |request| {
            let answer = Answer::status(status).header("WWW-Authenticate", "Basic realm=\"x\"");
            request.path.contains("/manifests/").then_some(answer)
        });
        assert!(error.contains("pull access denied") && error.contains(&status.to_string()), "{error}");
    }
}

#[test]
fn an_unknown_kind_of_login_is_told_as_such() {
    let (error, _) = misbehave(&Sample::of("challenge"), |request| {
        let answer = Answer::status(401).header("WWW-Authenticate", "Negotiate");
        request.path.contains("/manifests/").then_some(answer)
    });
    assert!(error.contains("asks for an unknown kind of login"), "{error}");
}

#[test]
fn other_bytes_than_the_digest_says_are_refused() {
    let sample = Sample::of("mismatch");
    let other = Sample::of("mismatcH");
    let (layer, wrong) = (sample.layers[0].clone(), other.layers[0].clone());
    assert_eq!(layer.len(), wrong.len());
    let expected = format!(
        "digest mismatch: the manifest says {}, the content is {}",
        Digest::of(&layer),
        Digest::of(&wrong)
    );
    let (error, _) = misbehave(&sample, move |request| request.is_blob(&layer).then(|| Answer::ok(&wrong)));
    assert!(error.ends_with(&expected), "{error}");
}

#[test]
fn garbage_for_a_layer_is_a_digest_mismatch_too() {
    let sample = Sample::of("garbage");
    let layer = sample.layers[1].clone();
    let (error, _) = misbehave(&sample, move |request| {
        request.is_blob(&layer).then(|| Answer::ok(&vec![b'x'; layer.len()]))
    });
    assert!(error.contains("digest mismatch: the manifest says"), "{error}");
}

#[test]
fn another_archive_than_the_configuration_says_is_refused() {
    let archives = [tar(&[("a", b"1")])];
    let honest = Sample::new(&archives);
    let lying = Sample::with_layers(&archives, vec![gzip(&tar(&[("a", b"2")]))]);
    let (_dir, store) = store();
    let server = Server::with(&lying, |_| None);
    let error = failure(&store, get(&store, &format!("{}/lie", server.host)));
    assert!(error.contains("diff_id") && error.contains("digest mismatch"), "{error}");
    assert_eq!(names(&store.root().join("layers")), [""; 0]);
    let server = Server::with(&honest, |_| None);
    get(&store, &format!("{}/lie", server.host)).unwrap();
}

#[test]
fn other_documents_than_the_digest_says_are_refused() {
    let sample = Sample::of("documents");
    let config = sample.config.clone();
    let (error, _) = misbehave(&sample, move |request| request.is_blob(&config).then(|| Answer::ok(b"{}")));
    assert!(error.contains("digest mismatch: asked for"), "{error}");

    let (_dir, store) = store();
    let server = Server::with(&sample, |request| {
        request.path.contains("/manifests/").then(|| Answer::ok(br#"{"schemaVersion":2}"#))
    });
    let error = failure(&store, get(&store, &format!("{}/x@{}", server.host, sample.digest())));
    assert!(error.contains("digest mismatch: asked for"), "{error}");
}

#[test]
fn a_transfer_that_never_gets_further_ends() {
    let sample = Sample::of("truncated");
    let layer = sample.layers[0].clone();
    let size = layer.len();
    let cut = layer.clone();
    let (error, server) = misbehave(&sample, move |request| {
        request.is_blob(&cut).then(|| match request.header("range") {
            "" => Answer::ok(&cut).cut(10),
            _ => Answer::range(request, &cut).cut(0),
        })
    });
    assert!(error.contains(&format!("truncated download: 10 of {size} bytes of sha256:")), "{error}");
    assert_eq!(server.transfers(&layer), 3);
}

#[test]
fn more_or_fewer_bytes_than_the_manifest_says_are_refused() {
    let sample = Sample::of("size");
    for wrong in [0, 1, 1000] {
        let layer = sample.layers[0].clone();
        let (error, server) = misbehave(&sample, move |request| {
            let mut body = layer.clone();
            body.resize(if wrong == 0 { body.len() - 1 } else { body.len() + wrong }, 0);
            request.is_blob(&layer).then(|| Answer::ok(&body))
        });
        assert!(error.contains("size mismatch"), "{error}");
        assert_eq!(server.transfers(&sample.layers[0]), 1, "not a passing failure");
    }
    // Without a length only reading on shows it.
    let layer = sample.layers[0].clone();
    let (error, _) = misbehave(&sample, move |request| {
        let mut body = format!("{:x}\r\n", layer.len() + 2).into_bytes();
        body.extend([layer.as_slice(), b"xx\r\n0\r\n\r\n"].concat());
        request.is_blob(&layer).then(|| Answer::ok(&body).header("Transfer-Encoding", "chunked"))
    });
    assert!(error.contains("size mismatch"), "{error}");
}

#[test]
fn a_blob_that_is_gone_is_named() {
    let sample = Sample::of("gone");
    let layer = sample.layers[1].clone();
    let expected = format!("does not have the blob {}", Digest::of(&layer));
    let (error, _) = misbehave(&sample, move |request| request.is_blob(&layer).then(|| Answer::status(404)));
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn a_registry_that_stays_broken_is_left_after_some_attempts() {
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let (error, _) = misbehave(&Sample::of("broken"), move |request| {
        request.path.contains("/manifests/").then(|| {
            counted.fetch_add(1, Ordering::SeqCst);
            Answer::status(500)
        })
    });
    assert!(error.contains("answered 500"), "{error}");
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[test]
fn endless_redirects_and_documents_end() {
    let (error, _) = misbehave(&Sample::of("redirect"), |request| {
        let answer = Answer::status(307).header("Location", &request.path);
        request.path.contains("/manifests/").then_some(answer)
    });
    assert!(error.contains("too many redirects"), "{error}");
    let (error, _) = misbehave(&Sample::of("long"), |request| {
        request.path.contains("/manifests/").then(|| Answer::ok(&vec![b' '; (4 << 20) + 1]))
    });
    assert!(error.contains("has over 4194304 bytes"), "{error}");
}

#[test]
fn manifests_that_are_no_images_are_refused() {
    let layer = |media_type: &str| json!({"schemaVersion": 2, "config": descriptor("", b"{}"), "layers": [descriptor(media_type, b"")]});
    let nested =
        json!({"schemaVersion": 2, "config": descriptor("application/vnd.helm+json", b"{}"), "layers": []});
    let escape = json!({"schemaVersion": 2, "layers": [],
        "config": {"mediaType": "", "digest": "sha256:../../../../etc/passwd", "size": 1}});
    for (manifest, cause) in [
        (json!({"schemaVersion": 1}), "schema version 1"),
        (json!([]), "malformed manifest"),
        (layer("application/vnd.oci.image.layer.nondistributable.v1.tar"), "is not distributable"),
        (layer(&format!("{OCI_LAYER}+encrypted")), "is not distributable"),
        (nested, "not a container image"),
        (escape, "malformed manifest: "),
    ] {
        let text = manifest.to_string();
        let (error, _) = misbehave(&Sample::of("kind"), move |request| {
            request.path.contains("/manifests/").then(|| Answer::ok(text.as_bytes()))
        });
        assert!(error.contains(cause), "{error}");
    }
}

#[test]
fn images_that_contradict_themselves_are_refused() {
    let archive = tar(&[("a", b"1")]);
    let config = |architecture: &str, diff_ids: &[Digest]| json!({"architecture": architecture, "os": "linux", "rootfs": {"diff_ids": diff_ids}});
    let id = Digest::of(&archive);
    for (config, cause) in [
        (config("arm64", &[id]), "the image is for linux/arm64, not for linux/amd64"),
        (config("amd64", &[id, id]), "the manifest has 1 layers, the configuration 2"),
        (json!({"rootfs": {"diff_ids": ["sha256:.."]}}), "malformed image configuration"),
        (json!({}), "malformed image configuration"),
    ] {
        let sample = Sample::with_config(&config, std::slice::from_ref(&archive), vec![gzip(&archive)]);
        let server = Server::with(&sample, |_| None);
        let (_dir, store) = store();
        let error = failure(&store, get(&store, &format!("{}/odd", server.host)));
        assert!(error.starts_with(cause), "{error}");
    }
}

/// Cancels at the first event of a kind.
struct Cancel<'a>(&'a AtomicBool, fn(&Event<'_>) -> bool);

impl Progress for Cancel<'_> {
    fn event(&self, event: Event<'_>) {
        if self.1(&event) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_pull_can_be_cancelled() {
    let sample = Sample::of("cancel");
    let server = Server::with(&sample, |_| None);
    let (_dir, store) = store();
    let cancel = AtomicBool::new(false);
    let wish = ResolveOptions { cancel: Some(&cancel), ..options() };
    let name = format!("{}/cancel", server.host);
    let source: Source = name.parse().unwrap();
    let at_layer = Cancel(&cancel, |event| matches!(event, Event::Layer { .. }));
    assert_eq!(failure(&store, resolve(&store, &source, &wish, &at_layer)), "cancelled");
    cancel.store(false, Ordering::SeqCst);
    get_with(&store, &name, &wish).unwrap();
}

#[test]
fn a_pull_that_waits_can_be_cancelled() {
    let sample = Sample::of("wait");
    let at_retry: fn(&Event<'_>) -> bool = |event| matches!(event, Event::Retry { .. });
    let layer = sample.layers[0].clone();
    let broken_blob = move |request: &Request| request.is_blob(&layer).then(|| Answer::status(503));
    let broken_manifest =
        |request: &Request| request.path.contains("/manifests/").then(|| Answer::status(503));
    for server in [Server::with(&sample, broken_blob), Server::with(&sample, broken_manifest)] {
        let (_dir, store) = store();
        let cancel = AtomicBool::new(false);
        let mut wish = ResolveOptions { cancel: Some(&cancel), ..options() };
        wish.patience.delay = Duration::from_secs(3600);
        let source: Source = format!("{}/wait", server.host).parse().unwrap();
        let got = resolve(&store, &source, &wish, &Cancel(&cancel, at_retry));
        assert_eq!(failure(&store, got), "cancelled");
    }
}

#[test]
fn a_pull_that_waits_for_another_can_be_cancelled() {
    let sample = Sample::new(&[tar(&[("a", b"b")])]);
    let layer = sample.layers[0].clone();
    let ((begun, seen), (go_on, told)) = (mpsc::channel(), mpsc::channel::<()>());
    let (begun, told) = (Mutex::new(begun), Mutex::new(told));
    let server = Server::with(&sample, move |request| {
        if request.is_blob(&layer) {
            begun.lock().unwrap().send(()).unwrap();
            told.lock().unwrap().recv().unwrap();
        }
        None
    });
    let (_dir, store) = store();
    let source: Source = format!("{}/wait", server.host).parse().unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| resolve(&store, &source, &options(), &image::Silent));
        seen.recv().unwrap();
        let cancel = AtomicBool::new(false);
        let wish = ResolveOptions { cancel: Some(&cancel), ..options() };
        let at_waiting = Cancel(&cancel, |event| matches!(event, Event::Waiting { .. }));
        assert!(matches!(resolve(&store, &source, &wish, &at_waiting), Err(ResolveError::Cancelled)));
        go_on.send(()).unwrap();
        first.join().unwrap().unwrap();
    });
}

#[test]
fn a_registry_that_is_not_there_is_told_as_such() {
    let (_dir, store) = store();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    drop(listener);
    let error = chain(&get(&store, &format!("{host}/a")).unwrap_err());
    assert!(error.contains(&format!("cannot reach the registry {host}")), "{error}");
    assert!(error.contains("refused"), "{error}");
}

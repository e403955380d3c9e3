//! Pushes to registries that want a login, break off, or lie.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use image::{Credentials, Digest, Login, PushError, PushEvent, Reference, ResolveOptions, Store, push};

use crate::catalog::keeping;
use crate::sample::{Sample, chain, get_with, store, tar};
use crate::server::{Answer, Request, Server};

/// A registry that takes everything; `special` may answer first.
fn taking(special: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Server {
    let taken: Arc<Mutex<Vec<String>>> = Arc::default();
    Server::new(move |request| {
        if let Some(answer) = special(request) {
            return answer;
        }
        let created = |status| Answer { status, ..Answer::ok(b"") };
        let here = format!("/v2/name/blobs/uploads/{}", taken.lock().unwrap().len());
        match request.method.as_str() {
            "GET" => Answer::ok(b"{}"),
            "HEAD" => Answer::status(404),
            "POST" => created(202).header("Location", &format!("{here}?state=1")),
            "PATCH" => created(202).header("Location", &format!("{here}?state=2")),
            _ => {
                taken.lock().unwrap().push(request.path.clone());
                created(201)
            }
        }
    })
}

/// A store with an image that is to go to a server.
fn image_for(server: &Server) -> (tempfile::TempDir, Store, Reference, Sample) {
    let sample = Sample::new(&[tar(&[("one", &[7; 40_000])])]);
    let from = Server::with(&sample, |_| None);
    let (dir, store) = store();
    let source = format!("{}/name", from.host);
    get_with(&store, &source, &keeping()).unwrap();
    let name: Reference = format!("{}/name:1", server.host).parse().unwrap();
    store.name_image(&source, &name).unwrap();
    (dir, store, name, sample)
}

fn pushed(
    store: &Store,
    name: &Reference,
    options: &ResolveOptions<'_>,
) -> Result<Vec<PushEvent>, PushError> {
    let told = Mutex::new(Vec::new());
    push(store, name, options, &|_, event| told.lock().unwrap().push(event))?;
    Ok(told.into_inner().unwrap())
}

fn refused(store: &Store, name: &Reference) -> String {
    chain(&pushed(store, name, &keeping()).unwrap_err())
}

#[test]
fn an_upload_goes_on_where_it_broke() {
    let tries = AtomicUsize::new(0);
    let server = taking(move |request| match request.method.as_str() {
        "PATCH" if tries.fetch_add(1, Ordering::SeqCst) == 0 => Some(Answer::status(503)),
        // What came of it.
        "GET" if request.path.contains("/uploads/") => {
            Some(Answer { status: 204, ..Answer::ok(b"") }.header("Range", "0-99"))
        }
        _ => None,
    });
    let (_dir, store, name, sample) = image_for(&server);
    assert_eq!(pushed(&store, &name, &keeping()).unwrap().last(), Some(&PushEvent::Pushed));
    let requests = server.requests();
    let patches: Vec<_> = requests.iter().filter(|request| request.method == "PATCH").collect();
    let size = sample.layers[0].len();
    let ranges: Vec<_> = patches.iter().map(|patch| patch.header("content-range")).collect();
    assert_eq!(ranges[..2], ["", &format!("100-{}", size - 1)]);
    assert_eq!(patches[1].header("content-length"), (size - 100).to_string());
    let last = requests.iter().rev().find(|request| request.method == "PUT").unwrap();
    assert_eq!(last.path, "/v2/name/manifests/1");
    assert_eq!(last.body.as_bytes(), sample.manifest);
    assert_eq!(last.header("content-type"), "application/vnd.oci.image.manifest.v1+json");
}

#[test]
fn a_token_for_writing_is_fetched_with_the_clients_login() {
    let token = Server::new(|request| {
        let good = request.header("authorization") == "Basic dXNlcjpzZWNyZXQ="
            && request.path.contains("pull%2Cpush");
        if good { Answer::ok(br#"{"token":"abc"}"#) } else { Answer::status(401) }
    });
    let realm = format!(r#"Bearer realm="http://{}/token",service="here""#, token.host);
    let server = taking(move |request| {
        let let_in = request.header("authorization") == "Bearer abc";
        (!let_in && request.path != "/v2/").then(|| Answer::status(401).header("WWW-Authenticate", &realm))
    });
    let (_dir, store, name, _) = image_for(&server);
    let login = Credentials::from_header("eyJ1c2VybmFtZSI6InVzZXIiLCJwYXNzd29yZCI6InNlY3JldCJ9").unwrap();
    let options = ResolveOptions { login: Login::Given(login), ..keeping() };
    pushed(&store, &name, &options).unwrap();
    let nobody = ResolveOptions { login: Login::Given(None), ..keeping() };
    let refused = chain(&pushed(&store, &name, &nobody).unwrap_err());
    assert!(refused.contains("answered 401"), "{refused}");
}

#[test]
fn what_a_registry_refuses_or_garbles_is_told() {
    let server = taking(|request| (request.method == "POST").then(|| Answer::status(403)));
    let (_dir, store, name, _) = image_for(&server);
    let said = refused(&store, &name);
    assert!(
        said.contains("push access denied for ") && said.contains("answered 403: registry\\u{1b}says"),
        "{said}"
    );

    let server = taking(|request| {
        let answer =
            || Answer { status: 201, ..Answer::ok(b"") }.header("Docker-Content-Digest", "sha256:00");
        (request.method == "PUT").then(answer)
    });
    let (_dir, store, name, _) = image_for(&server);
    assert!(refused(&store, &name).contains("the registry calls the manifest sha256:00"));
    assert!(
        store.image(&name.to_string()).unwrap().digests.iter().all(|digest| digest.domain() != name.domain())
    );

    for location in ["", "file:///etc/passwd", "//elsewhere/x", "ftp://x/"] {
        let server = taking(move |request| {
            let answer = || Answer { status: 202, ..Answer::ok(b"") }.header("Location", location);
            (request.method == "POST").then(answer)
        });
        let (_dir, store, name, _) = image_for(&server);
        refused(&store, &name);
    }
    let server = taking(|request| (request.method == "PATCH").then(|| Answer::status(500)));
    let (_dir, store, name, _) = image_for(&server);
    assert!(refused(&store, &name).contains("answered 500"));
    assert_eq!(server.requests().iter().filter(|request| request.method == "PATCH").count(), 3);
}

#[test]
fn a_damaged_blob_is_not_pushed_and_counts_as_missing() {
    let server = taking(|_| None);
    let (dir, store, name, sample) = image_for(&server);
    let path = dir.path().join("blobs").join(Digest::of(&sample.layers[0]).hex());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let said = refused(&store, &name);
    assert!(said.contains("is damaged"), "{said}");
    assert!(!path.exists());
    assert!(matches!(pushed(&store, &name, &keeping()), Err(PushError::NoBlobs(_))));
    assert!(server.requests().iter().all(|request| !request.path.contains("manifests")));
}

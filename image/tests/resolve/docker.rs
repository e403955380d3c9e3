//! Images given away again: to Debian's docker-registry, and in archives that skopeo reads and writes.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use image::{
    Archive, Digest, Loaded, NewImage, PushEvent, Reference, Registries, ResolveOptions, Store, load, make,
    push, remote_image, remote_tags,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::Registry;

use crate::catalog::keeping;
use crate::sample::{Events, Sample, get_with, gzip, names, store, tar};
use crate::server::Server;

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

/// A store with an image `app:1` that a registry gave, one of whose layers is large.
fn filled(text: &str) -> (TempDir, Store, Sample) {
    let noise: Vec<u8> =
        (0..3_000_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let sample =
        Sample::new(&[tar(&[("base", b"same")]), tar(&[("noise", &noise), ("own", text.as_bytes())])]);
    let server = Server::with(&sample, |_| None);
    let (dir, store) = store();
    let image = format!("{}/app", server.host);
    get_with(&store, &image, &keeping()).unwrap();
    store.name_image(&image, &name("app:1")).unwrap();
    (dir, store, sample)
}

fn push_to(store: &Store, to: &str) -> (image::Pushed, Vec<(Digest, PushEvent)>) {
    store.name_image("app:1", &name(to)).unwrap();
    let told = Mutex::new(Vec::new());
    let pushed =
        push(store, &name(to), &keeping(), &|layer, event| told.lock().unwrap().push((layer, event)))
            .unwrap();
    (pushed, told.into_inner().unwrap())
}

fn count(told: &[(Digest, PushEvent)], wanted: impl Fn(&PushEvent) -> bool) -> usize {
    told.iter().filter(|(_, event)| wanted(event)).count()
}

fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new("skopeo").args(arguments).output().expect("skopeo of the Debian package of that name");
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn saved(store: &Store, names: &[&str]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut bytes = Vec::new();
    Archive::new(store, &names).unwrap().write(&mut bytes).unwrap();
    bytes
}

fn load_into(store: &Store, bytes: &[u8]) -> Vec<Loaded> {
    let mut told = Vec::new();
    let loaded = load(store, bytes, &keeping(), &image::Silent, &mut |one| told.push(one.clone())).unwrap();
    assert_eq!(told, loaded);
    loaded
}

#[test]
fn an_image_is_pushed_once_and_keeps_its_digest() {
    let registry = Registry::empty();
    let (_dir, store, sample) = filled("push");
    let to = format!("{}/team/app:v1", registry.host());
    let (pushed, told) = push_to(&store, &to);
    assert_eq!((pushed.digest, pushed.size), (sample.digest(), sample.manifest.len() as u64));
    assert_eq!(count(&told, |event| *event == PushEvent::Preparing), 2);
    assert_eq!(count(&told, |event| *event == PushEvent::Pushed), 2);
    assert!(count(&told, |event| matches!(event, PushEvent::Pushing { .. })) > 4);
    let image = store.image(&to).unwrap();
    assert!(image.digests.contains(&name(&to).with_digest(sample.digest())));

    // Nothing is moved twice, and other repositories of the registry take what it has.
    let (_, told) = push_to(&store, &to);
    assert_eq!(count(&told, |event| *event == PushEvent::Exists), 2);
    let (_, told) = push_to(&store, &format!("{}/other:v1", registry.host()));
    let mounted = PushEvent::Mounted("team/app".to_owned());
    assert_eq!(count(&told, |event| *event == mounted), 2, "{told:?}");

    let there: Value =
        serde_json::from_slice(&skopeo(&["inspect", "--tls-verify=false", &format!("docker://{to}")]))
            .unwrap();
    assert_eq!(there["Digest"], json!(sample.digest()));
    assert_eq!(remote_tags(&name(&to), &keeping()).unwrap(), ["v1"]);
    let remote = remote_image(&name(&to), &keeping()).unwrap();
    assert_eq!((remote.digest, remote.platforms[0].architecture.as_str()), (sample.digest(), "amd64"));

    let (_dir, second) = crate::sample::store();
    get_with(&second, &to, &keeping()).unwrap();
    assert_eq!(second.image(&to).unwrap().id, sample.id());
}

#[test]
fn an_image_without_blobs_is_not_pushed_or_saved() {
    let sample = Sample::of("bare");
    let server = Server::with(&sample, |_| None);
    let (_dir, store) = store();
    let image = format!("{}/a:latest", server.host);
    get_with(&store, &image, &crate::sample::options()).unwrap();
    let refused = push(&store, &name(&image), &keeping(), &|_, _| {}).unwrap_err().to_string();
    assert!(refused.contains("were not kept as they came"), "{refused}");
    let refused = Archive::new(&store, std::slice::from_ref(&image)).err().unwrap().to_string();
    assert!(refused.contains("pull or load the image again first"), "{refused}");
    get_with(&store, &image, &keeping()).unwrap();
    assert!(Archive::new(&store, &[image]).is_ok());
}

#[test]
fn what_is_saved_is_read_by_skopeo_and_loaded_again() {
    let (dir, store, sample) = filled("save");
    store.name_image("app:1", &name("app:2")).unwrap();
    let path = dir.path().join("saved.tar");
    fs::write(&path, saved(&store, &["app"])).unwrap();
    let text = path.display();
    for source in [format!("docker-archive:{text}:app:2"), format!("oci-archive:{text}:2")] {
        let found: Value = serde_json::from_slice(&skopeo(&["inspect", &source])).unwrap();
        assert_eq!(found["Layers"].as_array().unwrap().len(), 2, "{source}");
        let config: Value =
            serde_json::from_slice(&skopeo(&["inspect", "--config", "--raw", &source])).unwrap();
        assert_eq!(config["config"]["Cmd"], json!(["run"]), "{source}");
    }
    let (_dir, second) = crate::sample::store();
    for bytes in [fs::read(&path).unwrap(), gzip(&fs::read(&path).unwrap())] {
        let loaded = load_into(&second, &bytes);
        assert_eq!(loaded, [Loaded { id: sample.id(), names: vec![name("app:1"), name("app:2")] }]);
    }
    let image = second.image("app:2").unwrap();
    assert_eq!((image.manifest, image.json), (Some(sample.digest()), sample.config.clone()));
    assert_eq!(saved(&second, &["app:1", "app:2"]), fs::read(&path).unwrap());

    // By id it has no name in the archive; several images share what they have in common.
    let (_dir, third) = crate::sample::store();
    let other = load_into(&third, &saved(&store, &[&sample.id().to_string()]));
    assert_eq!(other, [Loaded { id: sample.id(), names: Vec::new() }]);
    assert_eq!(third.images().unwrap().len(), 1);
}

#[test]
fn archives_of_skopeo_are_loaded() {
    let (dir, store, sample) = filled("skopeo");
    let path = dir.path().join("saved.tar");
    fs::write(&path, saved(&store, &["app:1"])).unwrap();
    let source = format!("docker-archive:{}:app:1", path.display());
    let copy = |to: &str, file: &Path| {
        skopeo(&["copy", "-q", &source, &format!("{to}:{}:other/app:9", file.display())]);
        fs::read(file).unwrap()
    };
    let docker = copy("docker-archive", &dir.path().join("docker.tar"));
    let oci = copy("oci-archive", &dir.path().join("oci.tar"));
    let (_dir, second) = crate::sample::store();
    for bytes in [&docker, &oci] {
        assert_eq!(load_into(&second, bytes)[0].names, [name("other/app:9")]);
        // Whatever form the layers have there, the image can be given away again.
        let bytes = saved(&second, &["other/app:9"]);
        let (_dir, third) = crate::sample::store();
        assert_eq!(load_into(&third, &bytes)[0].names, [name("other/app:9")]);
    }
    // skopeo's docker-archive keeps the configuration: it is the same image.
    let first = load_into(&second, &docker);
    assert_eq!(first[0].id, sample.id());
}

#[test]
fn only_missing_layers_are_loaded() {
    let (_dir, store, sample) = filled("one");
    let layers = vec![sample.layers[0].clone(), gzip(&tar(&[("other", b"x")]))];
    let second = Sample::with_layers(&[sample.archives[0].clone(), tar(&[("other", b"x")])], layers);
    let server = Server::with(&second, |_| None);
    let (_dir2, other) = crate::sample::store();
    get_with(&other, &format!("{}/b", server.host), &keeping()).unwrap();
    let bytes = saved(&other, &[&second.id().to_string()]);
    let events = Events::default();
    load(&store, bytes.as_slice(), &keeping(), &events, &mut |_| {}).unwrap();
    assert_eq!((events.count("Cached"), events.count("Planned"), events.count("Done")), (1, 1, 1));
}

#[test]
fn an_archive_of_too_many_images_is_refused_as_a_whole() {
    let (_dir, store) = crate::sample::store();
    let item = json!({ "Config": "a.json", "RepoTags": ["a:1"], "Layers": [] });
    let manifest = Value::from(vec![item; 1001]).to_string();
    let archive = tar(&[("manifest.json", manifest.as_bytes()), ("a.json", b"{}")]);
    let refused = load(&store, archive.as_slice(), &keeping(), &image::Silent, &mut |_| {}).unwrap_err();
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert_eq!(cause, "the archive has 1001 images, the limit is 1000: save them in several");
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn torn_and_hostile_archives_are_refused() {
    let (_dir, store, _) = filled("torn");
    let bytes = saved(&store, &["app:1"]);
    let (_dir, second) = crate::sample::store();
    for cut in [0, 100, 5000, bytes.len() / 2, bytes.len() - 3000] {
        let refused = load(&second, &bytes[..cut], &keeping(), &image::Silent, &mut |_| {});
        assert!(refused.is_err(), "{cut}");
    }
    // Zeros without an end, packed small.
    let bomb = gzip(&vec![0; 100 << 20]);
    let mut options = keeping();
    options.limits.ratio = 100;
    let refused = load(&second, bomb.as_slice(), &options, &image::Silent, &mut |_| {}).unwrap_err();
    assert!(crate::sample::chain(&refused).contains("suspiciously many"), "{refused:?}");
    let escape = tar(&[("manifest.json", br#"[{"Config":"../../etc/passwd","Layers":["/etc/shadow"]}]"#)]);
    let refused = load(&second, escape.as_slice(), &keeping(), &image::Silent, &mut |_| {}).unwrap_err();
    assert!(crate::sample::chain(&refused).contains("has no ../../etc/passwd"), "{refused:?}");
    assert_eq!(names(&second.root().join("tmp")), [""; 0]);
    assert!(second.images().unwrap().is_empty());
}

#[test]
fn images_are_made_of_archives_and_of_other_images() {
    let (_dir, store) = store();
    let root = tar(&[("etc", b"x")]);
    let config = |json: Value| json.as_object().unwrap().clone();
    let import = NewImage {
        config: config(json!({"Cmd": ["sh"]})),
        comment: "Imported from -".into(),
        created: "2020-01-02T03:04:05Z".into(),
        name: Some(name("root:1")),
        ..NewImage::default()
    };
    let id = make(&store, gzip(&root).as_slice(), &import, &keeping()).unwrap();
    assert_eq!(make(&store, root.as_slice(), &import, &keeping()).unwrap(), id, "packed or not");
    let image = store.image("root:1").unwrap();
    assert_eq!((image.id, image.config.rootfs.diff_ids[0]), (id, Digest::of(&root)));
    let json: Value = serde_json::from_slice(&image.json).unwrap();
    assert_eq!(json["history"], json!([{"created": "2020-01-02T03:04:05Z", "comment": "Imported from -"}]));

    let commit = NewImage {
        base: Some(image.id),
        config: config(json!({"Cmd": ["run"]})),
        author: "somebody".into(),
        created_by: "touch /a".into(),
        created: "2021-01-02T03:04:05Z".into(),
        ..NewImage::default()
    };
    let above = tar(&[("a", b"1")]);
    let id = make(&store, above.as_slice(), &commit, &keeping()).unwrap();
    let image = store.image(&id.to_string()).unwrap();
    assert_eq!(image.config.rootfs.diff_ids, [Digest::of(&root), Digest::of(&above)]);
    assert_eq!((image.config.config.cmd.as_slice(), image.tags.len()), (["run".to_owned()].as_slice(), 0));
    // Nothing changed: the same layers, one more line.
    let id = make(&store, Cursor::new(vec![0; 1024]), &commit, &keeping()).unwrap();
    let image = store.image(&id.to_string()).unwrap();
    assert_eq!(image.config.rootfs.diff_ids, [Digest::of(&root)]);
    let json: Value = serde_json::from_slice(&image.json).unwrap();
    assert_eq!(json["history"][1]["empty_layer"], json!(true));
    for id in store.images().unwrap().iter().map(|image| image.id.to_string()) {
        let (_dir, second) = crate::sample::store();
        load_into(&second, &saved(&store, &[&id]));
    }
    assert!(
        make(&store, above.as_slice(), &NewImage { base: Some(Digest::of(b"none")), ..commit }, &keeping())
            .is_err()
    );
}

#[test]
fn mirrors_are_asked_in_their_order() {
    let sample = Sample::of("mirror");
    let empty = Server::with(&sample, |request| {
        request.path.contains("/manifests/").then(|| crate::server::Answer::status(404))
    });
    let good = Server::with(&sample, |request| {
        let tags = || crate::server::Answer::ok(br#"{"tags":["latest"]}"#);
        request.path.contains("/tags/").then(tags)
    });
    let (_dir, store) = store();
    let mirrors = [&empty, &good].map(|server| format!("http://{}", server.host).parse().unwrap()).to_vec();
    let registries = Registries { mirrors, ..Registries::default() };
    let options = ResolveOptions { registries, ..keeping() };
    get_with(&store, "library/mirrored", &options).unwrap();
    let image = store.image("mirrored").unwrap();
    assert_eq!(image.digests, [name("mirrored").with_digest(sample.digest())]);
    assert!(good.requests()[0].path.starts_with("/v2/library/mirrored/"));
    assert_eq!(empty.requests().len(), 1);
    // So they are about tags and digests.
    let mirrored = name("mirrored");
    assert_eq!(remote_image(&mirrored, &options).unwrap().digest, sample.digest());
    assert_eq!(empty.requests().len(), 2);
    // The first does not know of tags.
    assert_eq!(remote_tags(&mirrored, &options).unwrap(), ["latest"]);
    // Names of other registries are nothing for a mirror.
    let asked = good.requests().len();
    let elsewhere = Server::with(&sample, |_| None);
    get_with(&store, &format!("{}/a", elsewhere.host), &options).unwrap();
    assert_eq!(good.requests().len(), asked);
}

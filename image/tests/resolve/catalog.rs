//! Blobs that are kept, and the store's images as Docker tells them: names, digests, deletion.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::{CatalogError, Digest, PullPolicy, Reference, Removed, ResolveOptions, Store, StoredImage, Use};

use crate::sample::{Sample, get_with, gzip, names, options, store, tar};
use crate::server::{Answer, Server};

/// Options of an engine that gives images away again.
pub(crate) fn keeping() -> ResolveOptions<'static> {
    ResolveOptions { keep_blobs: true, pull: PullPolicy::Always, ..options() }
}

fn blobs(store: &Store) -> Vec<String> {
    names(&store.root().join("blobs"))
}

fn hex(sample: &Sample) -> Vec<String> {
    let mut names: Vec<_> = sample.layers.iter().map(|layer| Digest::of(layer).hex()).collect();
    names.sort();
    names
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

fn tags(image: &StoredImage) -> Vec<String> {
    image.tags.iter().map(Reference::familiar).collect()
}

fn untagged(text: &str) -> Removed {
    Removed::Untagged(text.to_owned())
}

#[test]
fn blobs_are_kept_byte_for_byte_where_wanted() {
    let sample = Sample::of("kept");
    let server = Server::with(&sample, |_| None);
    let (_dir, store) = store();
    let image = format!("{}/a", server.host);
    get_with(&store, &image, &options()).unwrap();
    assert_eq!(blobs(&store), [""; 0], "not asked for");

    // What is converted already comes once more for its bytes, and only once.
    for _ in 0..2 {
        get_with(&store, &image, &keeping()).unwrap();
        assert_eq!(blobs(&store), hex(&sample));
        assert!(sample.layers.iter().all(|layer| server.transfers(layer) == 2));
    }
    for layer in &sample.layers {
        assert_eq!(fs::read(store.root().join("blobs").join(Digest::of(layer).hex())).unwrap(), *layer);
    }
    let found = store.image(&image).unwrap();
    assert_eq!((found.id, found.manifest), (sample.id(), Some(sample.digest())));
    assert_eq!(found.json, sample.config);
    assert_eq!(found.digests, [name(&image).with_digest(sample.digest())]);
}

#[test]
fn a_layer_is_made_from_its_blob_and_a_damaged_blob_counts_as_missing() {
    let sample = Sample::of("again");
    let server = Server::with(&sample, |_| None);
    let (dir, store) = store();
    let image = format!("{}/a", server.host);
    get_with(&store, &image, &keeping()).unwrap();
    let forget = || {
        for layer in names(&dir.path().join("layers")) {
            fs::remove_file(dir.path().join("layers").join(layer)).unwrap();
        }
    };
    forget();
    get_with(&store, &image, &keeping()).unwrap();
    assert!(sample.layers.iter().all(|layer| server.transfers(layer) == 1), "nothing was transferred");

    forget();
    let path = dir.path().join("blobs").join(Digest::of(&sample.layers[0]).hex());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    get_with(&store, &image, &keeping()).unwrap();
    assert_eq!((server.transfers(&sample.layers[0]), server.transfers(&sample.layers[1])), (2, 1));
    assert_eq!(fs::read(&path).unwrap(), sample.layers[0]);
}

#[test]
fn a_blob_that_is_another_layer_is_not_kept() {
    let sample = Sample::of("right");
    // The manifest of another image claims the layers of the first.
    let mut liar = sample.clone();
    let other = tar(&[("other", b"bytes")]);
    liar.layers[0] = gzip(&other);
    let config = serde_json::from_slice(&sample.config).unwrap();
    let liar = Sample::with_config(&config, &liar.archives, liar.layers);
    let server = Server::with(&sample, |_| None);
    let lying = Server::with(&liar, |_| None);
    let (_dir, store) = store();
    get_with(&store, &format!("{}/a", server.host), &keeping()).unwrap();
    let refused = get_with(&store, &format!("{}/a", lying.host), &keeping()).unwrap_err();
    assert!(crate::sample::chain(&refused).contains("digest mismatch"), "{refused}");
    assert_eq!(blobs(&store), hex(&sample));
}

#[test]
fn a_torn_pull_leaves_no_blob_without_its_whole_content() {
    let sample = Sample::of("torn");
    let layer = sample.layers[1].clone();
    let server = Server::with(&sample, move |request| {
        request.is_blob(&layer).then(|| Answer::ok(&layer).cut(layer.len() / 2))
    });
    let (_dir, store) = store();
    get_with(&store, &format!("{}/a", server.host), &keeping()).unwrap_err();
    assert_eq!(names(&store.root().join("tmp")), [""; 0]);
    assert!(!blobs(&store).contains(&Digest::of(&sample.layers[1]).hex()));
    assert!(store.images().unwrap().is_empty());
    store.sweep().unwrap();
    assert_eq!(blobs(&store), [""; 0]);
}

#[test]
fn an_image_whose_name_moved_stays_without_one_until_it_is_deleted() {
    let (first, second) = (Sample::of("first"), Sample::of("second"));
    let pulls = AtomicUsize::new(0);
    let (old, new) = (first.clone(), second.clone());
    let server = Server::new(move |request| {
        let late = request.path.ends_with("latest") && pulls.fetch_add(1, Ordering::SeqCst) > 0;
        let sample = if late || new.blobs().any(|(digest, _)| request.path.ends_with(&digest.to_string())) {
            &new
        } else {
            &old
        };
        crate::server::plain(sample, request)
    });
    let (_dir, store) = store();
    let image = format!("{}/a:latest", server.host);
    for _ in 0..2 {
        get_with(&store, &image, &keeping()).unwrap();
    }
    store.sweep().unwrap();
    let old = store.image(&first.id().to_string()).unwrap();
    assert_eq!((tags(&old), old.digests.len()), (vec![], 1));
    assert_eq!(tags(&store.image(&image).unwrap()), std::slice::from_ref(&image));
    assert_eq!(store.image(&old.digests[0].familiar()).unwrap().id, first.id());
    assert_eq!(store.images().unwrap().len(), 2);

    let (_, removed) = store.delete_image(&first.id().short(), &[], false).unwrap();
    assert_eq!(removed, [untagged(&old.digests[0].familiar()), Removed::Deleted(first.id())]);
    let swept = store.sweep().unwrap();
    assert_eq!((swept.images, swept.layers), (1, 2));
    assert_eq!(blobs(&store), hex(&second));
    // The plain prune takes no image with a name.
    assert_eq!(store.prune(false).unwrap().images, 0);
    assert_eq!(store.prune(true).unwrap().images, 1);
    for dir in ["blobs", "records", "layers", "images", "manifests", "tags"] {
        assert_eq!(names(&store.root().join(dir)), [""; 0], "{dir}");
    }
}

#[test]
fn names_are_given_and_taken_as_docker_does() {
    let sample = Sample::of("names");
    let server = Server::with(&sample, |_| None);
    let (_dir, store) = store();
    let image = format!("{}/a:latest", server.host);
    get_with(&store, &image, &keeping()).unwrap();
    let digest = store.image(&image).unwrap().digests[0].familiar();
    for text in ["b:1", "b:2"] {
        assert_eq!(store.name_image(&image, &name(text)).unwrap(), sample.id());
    }
    store.name_image(&sample.id().short(), &name("c")).unwrap();
    let found = store.image("b:2").unwrap();
    assert_eq!(tags(&found), [image.as_str(), "b:1", "b:2", "c:latest"]);
    assert!(found.tagged.is_some_and(|tagged| tagged > 1_000_000_000));
    let refused = store.name_image("b:2", &name(&format!("x@{}", sample.digest()))).unwrap_err();
    assert_eq!(refused.to_string(), "refusing to create a tag with a digest reference");

    let refused = store.delete_image(&sample.id().short(), &[], false).unwrap_err();
    let id = sample.id().short();
    assert_eq!(
        refused.to_string(),
        format!(
            "conflict: unable to delete {id} (must be forced) - image is referenced in multiple repositories"
        )
    );
    assert_eq!(store.delete_image("b:1", &[], false).unwrap().1, [untagged("b:1")]);
    // The last tag of a repository takes its digests with it.
    let (_, removed) = store.delete_image(&image, &[], false).unwrap();
    assert_eq!(removed, [untagged(&image), untagged(&digest)]);
    assert_eq!(tags(&store.image(&id).unwrap()), ["b:2", "c:latest"]);
    let (_, removed) = store.delete_image(&id, &[], true).unwrap();
    assert_eq!(removed, [untagged("b:2"), untagged("c:latest"), Removed::Deleted(sample.id())]);
    for text in ["b:2", &id, &sample.id().to_string()] {
        assert!(matches!(store.image(text), Err(CatalogError::NoImage(_))), "{text}");
    }
    let missing = store.image("nothing").unwrap_err();
    assert_eq!(missing.to_string(), "No such image: nothing:latest");
    assert_eq!(
        store.image("No").unwrap_err().to_string(),
        "invalid reference format: repository name (library/No) must be lowercase"
    );
}

#[test]
fn containers_keep_their_image() {
    let sample = Sample::of("used");
    let server = Server::with(&sample, |_| None);
    let (_dir, store) = store();
    let image = format!("{}/a:latest", server.host);
    get_with(&store, &image, &keeping()).unwrap();
    let id = sample.id().short();
    let used = |running| [Use { image: sample.id(), container: "0123456789abcdef".to_owned(), running }];
    let refused =
        |text: &str, running, force| store.delete_image(text, &used(running), force).unwrap_err().to_string();
    assert_eq!(
        refused(&image, true, false),
        format!(
            "conflict: unable to remove repository reference \"{image}\" (must force) - container 0123456789ab is \
             using its referenced image {id}"
        )
    );
    assert_eq!(
        refused(&id, true, true),
        format!(
            "conflict: unable to delete {id} (cannot be forced) - image is being used by running container \
             0123456789ab"
        )
    );
    assert_eq!(
        refused(&id, false, false),
        format!(
            "conflict: unable to delete {id} (must be forced) - image is being used by stopped container 0123456789ab"
        )
    );
    // By name and by force, the name alone goes.
    let (_, removed) = store.delete_image(&image, &used(true), true).unwrap();
    assert_eq!(removed.len(), 2);
    assert_eq!(tags(&store.image(&id).unwrap()), [""; 0]);
    let (_, removed) = store.delete_image(&id, &used(false), true).unwrap();
    assert_eq!(removed, [Removed::Deleted(sample.id())]);
}

//! Names, roots and garbage collection of the content store.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once, mpsc};

use image::{Origin, Store, StoreError};

use crate::sample::{Sample, chain, get, names, store, tar};
use crate::server::{Answer, Server};

/// A store with two images that share a layer.
struct Filled {
    dir: tempfile::TempDir,
    store: Store,
    names: [String; 2],
}

fn filled() -> Filled {
    let (dir, store) = store();
    let shared = tar(&[("shared", b"s")]);
    let names = ["one", "two"].map(|text| {
        let server =
            Server::with(&Sample::new(&[shared.clone(), tar(&[("own", text.as_bytes())])]), |_| None);
        let name = format!("{}/{text}:latest", server.host);
        get(&store, &name).unwrap();
        name
    });
    Filled { dir, store, names }
}

impl Filled {
    fn layers(&self) -> usize {
        names(&self.dir.path().join("layers")).len()
    }

    /// A pod directory that uses an image.
    fn pod(&self, name: &str, image: &str) -> PathBuf {
        let pod = self.dir.path().join("pods").join(name);
        let image = get(&self.store, image).unwrap().image;
        self.store.add_root(&pod, &[&image]).unwrap();
        fs::create_dir_all(&pod).unwrap();
        fs::write(pod.join("pod.json"), "{}").unwrap();
        pod
    }
}

#[test]
fn images_are_listed_with_their_size_and_pods() {
    let filled = filled();
    let pod = filled.pod("p", &filled.names[1]);
    let list = filled.store.list().unwrap();
    let found: Vec<_> = list.iter().map(|image| image.reference.clone().unwrap()).collect();
    let mut expected = filled.names.to_vec();
    expected.sort();
    assert_eq!(found, expected);
    let two = list.iter().find(|image| image.reference.as_ref() == Some(&filled.names[1])).unwrap();
    assert_eq!((two.layers, two.size, two.created.as_str()), (2, 6 << 20, "2001-02-03T04:05:06Z"));
    assert_eq!(two.pods, [pod]);
    assert!(filled.store.usage().unwrap() > 0);
}

#[test]
fn removing_a_name_frees_what_only_it_needed() {
    let filled = filled();
    assert_eq!(filled.layers(), 3);
    assert_eq!(filled.store.remove(&filled.names[0]).unwrap(), [filled.names[0].clone()]);
    assert_eq!(filled.layers(), 2);
    assert_eq!(get(&filled.store, &filled.names[1]).unwrap().origin, Origin::Store);
    assert!(matches!(filled.store.remove(&filled.names[0]), Err(StoreError::NoImage(_))));
    let id = filled.store.list().unwrap()[0].id;
    filled.store.remove(&id.short()).unwrap();
    assert_eq!((filled.layers(), filled.store.list().unwrap()), (0, vec![]));
    for dir in ["images", "manifests", "meta", "locks", "tags"] {
        assert_eq!(names(&filled.dir.path().join(dir)), [""; 0], "{dir}");
    }
}

#[test]
fn pods_keep_their_images_until_they_are_gone() {
    let filled = filled();
    let pod = filled.pod("p", &filled.names[0]);
    let id = get(&filled.store, &filled.names[0]).unwrap().image.id();
    let refused = filled.store.remove(&id.to_string());
    assert!(matches!(refused, Err(StoreError::InUse { pod: user, .. }) if user == pod));
    filled.store.remove(&filled.names[0]).unwrap();
    filled.store.prune(true).unwrap();
    assert_eq!(filled.layers(), 2, "the pod's");
    assert_eq!(filled.store.list().unwrap()[0].reference, None);

    fs::remove_dir_all(&pod).unwrap();
    let pruned = filled.store.prune(false).unwrap();
    assert_eq!((pruned.layers, pruned.images, filled.layers()), (2, 1, 0));
    assert!(pruned.bytes > 0);
    assert_eq!(names(&filled.dir.path().join("roots")), [""; 0]);
}

#[test]
fn a_root_can_be_taken_back() {
    let filled = filled();
    let pod = filled.pod("p", &filled.names[0]);
    filled.store.remove_root(&pod).unwrap();
    filled.store.remove_root(&pod).unwrap();
    filled.store.prune(true).unwrap();
    assert_eq!(filled.layers(), 0);
    assert_eq!(names(&filled.dir.path().join("roots")), [""; 0]);
}

#[test]
fn a_handle_keeps_its_files_from_collection() {
    let filled = filled();
    let handle = get(&filled.store, &filled.names[0]).unwrap().image;
    filled.store.remove(&filled.names[0]).unwrap();
    assert_eq!(filled.layers(), 3, "collection waits for the handle");
    assert!(handle.extents().iter().all(|extent| extent.path.exists()));
    drop(handle);
    assert_eq!(filled.store.prune(false).unwrap().layers, 1);
}

/// A process is killed in the middle of a layer: its lock is free at once, what it left goes with the next
/// collection.
#[test]
fn a_killed_pull_is_in_nobodys_way() {
    let sample = Sample::of("killed");
    let (begun, seen) = mpsc::channel();
    let (layer, begun, first) = (sample.layers[0].clone(), Mutex::new(begun), Once::new());
    let server = Server::with(&sample, move |request| {
        let mut answer = None;
        if request.is_blob(&layer) {
            first.call_once(|| {
                answer = Some(Answer::ok(&layer).stall(10));
                begun.lock().unwrap().send(()).unwrap();
            });
        }
        answer
    });
    let (dir, store) = store();
    let name = format!("{}/a", server.host);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::pull_until_killed", "--ignored"])
        .env("TEST_STORE", dir.path())
        .env("TEST_SOURCE", &name)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    seen.recv().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!names(&dir.path().join("tmp")).is_empty());
    assert_eq!(get(&store, &name).unwrap().origin, Origin::Registry);
    store.prune(false).unwrap();
    assert_eq!(names(&dir.path().join("tmp")), [""; 0]);
    assert_eq!(get(&store, &name).unwrap().origin, Origin::Store);
}

#[test]
#[ignore = "the other half of a_killed_pull_is_in_nobodys_way"]
fn pull_until_killed() {
    let store = Store::open(std::env::var_os("TEST_STORE").unwrap().as_ref()).unwrap();
    get(&store, &std::env::var("TEST_SOURCE").unwrap()).unwrap();
}

#[test]
fn images_have_further_names_and_ids() {
    let filled = filled();
    let image = get(&filled.store, &filled.names[0]).unwrap().image;
    filled.store.tag(&image, &"mine:1".parse().unwrap()).unwrap();
    assert_eq!(get(&filled.store, "mine:1").unwrap().image.id(), image.id());
    assert_eq!(get(&filled.store, &image.id().short()).unwrap().image.id(), image.id());
    let id = image.id().to_string();
    drop(image);
    filled.store.remove(&filled.names[0]).unwrap();
    assert_eq!(get(&filled.store, "mine:1").unwrap().origin, Origin::Store);
    assert_eq!(filled.layers(), 3);
    assert_eq!(filled.store.remove("mine:1").unwrap(), ["mine:1"]);
    assert!(matches!(filled.store.remove(&id), Err(StoreError::NoImage(_))));
}

#[test]
fn unnamed_images_go_by_their_id() {
    let (dir, store) = store();
    fs::create_dir_all(dir.path().join("bundle/rootfs")).unwrap();
    fs::write(dir.path().join("bundle/config.json"), "{}").unwrap();
    let source = format!("bundle:{}", dir.path().join("bundle").display());
    let id = get(&store, &source).unwrap().image.id().to_string();
    assert_eq!(store.list().unwrap()[0].reference, None);
    assert_eq!(store.remove(&id[..19]).unwrap(), [id]);
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn damaged_files_are_made_anew() {
    let (dir, store) = store();
    let sample = Sample::of("heal");
    let server = Server::with(&sample, |_| None);
    let name = format!("{}/heal", server.host);
    get(&store, &name).unwrap();
    let layer = dir.path().join("layers").join(&names(&dir.path().join("layers"))[0]);
    let config = dir.path().join("images").join(&names(&dir.path().join("images"))[0]);
    let tag = dir.path().join("tags").join(&names(&dir.path().join("tags"))[0]);
    for file in [&layer, &config, &tag] {
        fs::write(file, "torn").unwrap();
        store.list().unwrap();
        assert_eq!(get(&store, &name).unwrap().origin, Origin::Registry);
        assert_eq!(get(&store, &name).unwrap().origin, Origin::Store);
    }
    // What has a layer's size is only read by a merge, which cannot tell whether a pod still uses it.
    fs::write(&layer, vec![0; 2 << 20]).unwrap();
    let meta = dir.path().join("meta").join(&names(&dir.path().join("meta"))[0]);
    fs::remove_file(meta).unwrap();
    let error = chain(&get(&store, &name).unwrap_err());
    assert!(error.ends_with(&format!("{} is damaged: remove it and try again", layer.display())), "{error}");
    fs::remove_file(&layer).unwrap();
    get(&store, &name).unwrap();
}

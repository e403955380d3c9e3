//! Archives of `docker save`, OCI layouts and their archives, bundles, and a Docker daemon's socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use image::{Digest, Origin, PullPolicy, ResolveOptions};
use serde_json::json;

use crate::sample::{
    OCI_MANIFEST, Sample, descriptor, entry, failure, get, get_with, gzip, options, store, tar,
};

/// What `docker save` made of some images before version 25.
fn docker_archive(images: &[(&Sample, &[&str])]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut items = Vec::new();
    for (sample, tags) in images {
        let config = format!("{}.json", sample.id().hex());
        entry(&mut archive, &config, b'0', "", &sample.config);
        let mut layers = Vec::new();
        for (at, layer) in sample.archives.iter().enumerate() {
            let name = format!("{}-{at}/layer.tar", sample.id().short());
            entry(&mut archive, &name, b'0', "", layer);
            layers.push(name);
        }
        items.push(json!({"Config": config, "RepoTags": tags, "Layers": layers}));
    }
    entry(&mut archive, "manifest.json", b'0', "", json!(items).to_string().as_bytes());
    archive.extend([0; 1024]);
    archive
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// The files of an OCI layout.
fn layout(images: &[(&Sample, &str)]) -> Vec<(String, Vec<u8>)> {
    let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes.to_vec());
    let mut files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let mut entries = Vec::new();
    for (sample, tag) in images {
        files.extend(sample.blobs().map(|(_, bytes)| blob(bytes)));
        files.push(blob(&sample.manifest));
        let mut entry = descriptor(OCI_MANIFEST, &sample.manifest);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        entries.push(entry);
    }
    let index = json!({"schemaVersion": 2, "manifests": entries});
    files.push(("index.json".to_owned(), index.to_string().into_bytes()));
    files
}

#[test]
fn docker_archives_bring_their_names() {
    let (one, two) = (Sample::of("one"), Sample::of("two"));
    let dir = tempfile::tempdir().unwrap();
    let bytes = docker_archive(&[(&one, &["one:1", "ghcr.io/a/one:x"]), (&two, &["two:2"])]);
    let path = write(dir.path(), "both.tar", &bytes);
    let (_dir, store) = store();
    let error = failure(&store, get(&store, &format!("docker-archive:{}", path.display())));
    assert!(error.ends_with("has several images, name one of one:1, ghcr.io/a/one:x, two:2"), "{error}");
    let error = failure(&store, get(&store, &format!("docker-archive:{}:three", path.display())));
    assert!(error.contains("no image three:latest in "), "{error}");

    let found = get(&store, &format!("docker-archive:{}:two:2", path.display())).unwrap();
    assert_eq!((found.origin, found.image.id()), (Origin::File, two.id()));
    assert_eq!(found.image.manifest_digest(), None);
    assert_eq!(get(&store, "two:2").unwrap().origin, Origin::Store);

    let path =
        write(dir.path(), "one.tar.gz", &gzip(&docker_archive(&[(&one, &["one:1", "ghcr.io/a/one:x"])])));
    assert_eq!(
        get(&store, &format!("docker-archive:{}", path.display())).unwrap().image.reference(),
        "one:1"
    );
    assert_eq!(get(&store, "ghcr.io/a/one:x").unwrap().image.id(), one.id());
}

#[test]
fn new_docker_archives_tell_the_manifest_too() {
    let sample = Sample::of("new");
    let mut files = layout(&[(&sample, "1")]);
    let layers = sample.layers.iter().map(|layer| format!("blobs/sha256/{}", Digest::of(layer).hex()));
    let item = json!([{"Config": format!("blobs/sha256/{}", sample.id().hex()), "RepoTags": ["new:1"],
        "Layers": layers.collect::<Vec<_>>()}]);
    files.push(("manifest.json".to_owned(), item.to_string().into_bytes()));
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "new.tar", &tar(&files));
    let (_dir, store) = store();
    let found = get(&store, &format!("docker-archive:{}", path.display())).unwrap();
    assert_eq!(found.image.manifest_digest(), Some(sample.digest()));
}

#[test]
fn archives_cannot_speak_for_a_digest() {
    let (honest, forged) = (Sample::of("honest"), Sample::of("forged"));
    let dir = tempfile::tempdir().unwrap();
    let name = format!("team/app@{}", honest.digest());
    let archive = write(dir.path(), "a.tar", &docker_archive(&[(&forged, &[&name])]));
    let never = ResolveOptions { pull: PullPolicy::Never, ..options() };
    for source in [
        format!("docker-archive:{}", archive.display()),
        format!("docker-archive:{}:{name}", archive.display()),
    ] {
        let (_dir, store) = store();
        assert_eq!(get(&store, &source).unwrap().image.id(), forged.id());
        let error = get_with(&store, &name, &never).unwrap_err().to_string();
        assert_eq!(error, format!("no such image in the store: {name}"));
    }
}

#[test]
fn linked_layers_are_found_and_links_never_lead_out() {
    let archive = tar(&[("a", b"1")]);
    let sample = Sample::new(std::slice::from_ref(&archive));
    let with_link = |target: &str| {
        let mut bytes = Vec::new();
        entry(&mut bytes, "config", b'0', "", &sample.config);
        entry(&mut bytes, "b/layer.tar", b'0', "", &archive);
        entry(&mut bytes, "./a/layer.tar", b'2', target, b"");
        let item = json!([{"Config": "config", "RepoTags": null, "Layers": ["a/layer.tar"]}]);
        entry(&mut bytes, "manifest.json", b'0', "", item.to_string().as_bytes());
        bytes
    };
    let dir = tempfile::tempdir().unwrap();
    for (target, found) in [
        ("../b/layer.tar", true),
        ("../../../b/layer.tar", true),
        ("layer.tar", false),
        ("/etc/passwd", false),
    ] {
        let (_dir, store) = store();
        let path = write(dir.path(), "linked.tar", &with_link(target));
        let got = get(&store, &format!("docker-archive:{}", path.display()));
        assert_eq!(got.is_ok(), found, "{target}");
        if !found {
            assert!(failure(&store, got).contains("layer"), "{target}");
        }
    }
}

#[test]
fn layouts_and_their_archives_hold_images_by_tag() {
    let (one, two) = (Sample::of("one"), Sample::of("two"));
    let files = layout(&[(&one, "1"), (&two, "2")]);
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in &files {
        write(dir.path(), &format!("layout/{name}"), bytes);
    }
    let named: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    write(dir.path(), "layout.tar", &tar(&named));
    let base = dir.path().display();
    for source in [format!("oci:{base}/layout"), format!("oci-archive:{base}/layout.tar")] {
        let (_dir, store) = store();
        let error = failure(&store, get(&store, &source));
        assert!(error.ends_with("has several images, name one of 1, 2"), "{error}");
        let error = failure(&store, get(&store, &format!("{source}:3")));
        assert!(error.contains("no image 3 in "), "{error}");
        let found = get(&store, &format!("{source}:2")).unwrap();
        assert_eq!((found.image.id(), found.image.manifest_digest()), (two.id(), Some(two.digest())));
        assert_eq!(found.image.reference(), format!("{source}:2"));
    }
}

#[test]
fn damaged_layouts_are_refused() {
    let sample = Sample::of("damaged");
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("layout");
    let source = format!("oci:{}", base.display());
    let (_dir, store) = store();
    let error = failure(&store, get(&store, &source));
    assert!(error.contains("has no index.json: not an OCI image layout"), "{error}");
    for (name, bytes) in layout(&[(&sample, "1")]) {
        write(&base, &name, &bytes);
    }
    let blob = |digest: Digest| base.join("blobs/sha256").join(digest.hex());
    let layer = Digest::of(&sample.layers[0]);
    for (digest, cause) in [
        (sample.digest(), "is damaged: its content has the digest"),
        (sample.id(), "is damaged: its content has the digest"),
        (layer, "digest mismatch: the manifest says"),
    ] {
        let whole = fs::read(blob(digest)).unwrap();
        let mut flipped = whole.clone();
        flipped[20] ^= 1;
        fs::write(blob(digest), flipped).unwrap();
        let error = failure(&store, get(&store, &source));
        assert!(error.contains(cause), "{error}");
        fs::write(blob(digest), whole).unwrap();
    }
    fs::remove_file(blob(layer)).unwrap();
    let error = failure(&store, get(&store, &source));
    assert!(error.contains(&format!("blobs/sha256/{}\" is not in the archive", layer.hex())), "{error}");
}

#[test]
fn files_that_are_no_archives_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::of("x");
    let whole = docker_archive(&[(&sample, &["x:1"])]);
    let mut long = Vec::new();
    entry(&mut long, "././@LongLink", b'L', "", &vec![b'a'; 70_000]);
    let mut name = Vec::new();
    entry(&mut name, "././@LongLink", b'L', "", &[b'a'; 2000]);
    entry(&mut name, "a", b'0', "", b"");
    let mut wrong_id = Vec::new();
    let config = format!("{}.json", Digest::of(b"other").hex());
    entry(&mut wrong_id, &config, b'0', "", &sample.config);
    let item = json!([{"Config": config, "RepoTags": null, "Layers": []}]);
    entry(&mut wrong_id, "manifest.json", b'0', "", item.to_string().as_bytes());
    for (bytes, cause) in [
        (Vec::new(), "it has no files"),
        (vec![b'x'; 2048], "a header's checksum is wrong"),
        (whole[..700].to_vec(), "it ends inside a file"),
        (long, "an extended header is too long"),
        (name, "a name is too long"),
        (tar(&[("a", b"b")]), "has no manifest.json: not an archive of docker save"),
        (tar(&[("manifest.json", b"{}")]), "malformed manifest.json"),
        (gzip(&whole)[..200].to_vec(), "cannot unpack the archive"),
        (wrong_id, "is damaged: its content has the digest"),
    ] {
        let (_dir, store) = store();
        let path = write(dir.path(), "x.tar", &bytes);
        let error = failure(&store, get(&store, &format!("docker-archive:{}", path.display())));
        assert!(error.contains(cause), "{error}");
    }
    let (_dir, store) = store();
    let error = failure(&store, get(&store, &format!("oci-archive:{}", dir.path().display())));
    assert!(error.contains("not a regular file"), "{error}");
    let error = failure(&store, get(&store, "oci-archive:/nonexistent"));
    assert!(error.contains("cannot read /nonexistent: No such file"), "{error}");
}

/// Any byte of an archive may be any other: an error or an image, never a panic or a hang.
#[test]
fn mutated_archives_do_no_harm() {
    let sample = Sample::of("mutated");
    let whole = docker_archive(&[(&sample, &["mutated:1"])]);
    let headers: Vec<_> = (0..whole.len()).step_by(512).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "mutated.tar", &whole);
    let (_dir, store) = store();
    let mut random = 1u64;
    let mut below = |limit: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((random >> 33) % limit as u64).unwrap()
    };
    for _ in 0..60 {
        let mut bytes = whole.clone();
        let header = headers[below(headers.len())];
        for _ in 0..=below(3) {
            // The fields that are numbers or decide what the rest means.
            let at = header + [124, 125, 135, 148, 149, 156, 157, 257, 345][below(9)];
            bytes[at] = [0x80, 0xff, b'7', b' ', 0, b'x', b'L', b'1', b'2', b'/'][below(10)];
        }
        if below(2) == 0 {
            seal(&mut bytes[header..header + 512]);
        }
        fs::write(&path, bytes).unwrap();
        drop(get(&store, &format!("docker-archive:{}", path.display())));
    }
}

/// Makes a header's checksum right again.
fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn bundles_run_what_their_configuration_says() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rootfs/bin/app", b"#!");
    let source = format!("bundle:{}", dir.path().display());
    let (_dir, store) = store();
    let error = failure(&store, get(&store, &source));
    assert!(error.contains("has no config.json: not an OCI runtime bundle"), "{error}");
    let config = json!({"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "mounts": [],
        "process": {"args": ["app", "-x"], "env": ["A=b"], "cwd": "/srv", "user": {"uid": 5, "gid": 6}}});
    write(dir.path(), "config.json", config.to_string().as_bytes());
    let first = get(&store, &source).unwrap().image;
    let run = &first.config().config;
    assert_eq!(
        (run.cmd.join(" "), run.working_dir.as_str(), run.user.as_str()),
        ("app -x".into(), "/srv", "5:6")
    );
    assert_eq!((first.extents().len(), run.env.as_slice()), (2, ["A=b".to_owned()].as_slice()));
    assert_eq!(get(&store, &source).unwrap().image.id(), first.id(), "the same tree is the same image");
    std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
    for path in ["/", "..", "out"] {
        let config = json!({"root": {"path": path}}).to_string();
        write(dir.path(), "config.json", config.as_bytes());
        let error = failure(&store, get(&store, &source));
        assert!(error.ends_with("outside of the bundle"), "{error}");
    }
    write(dir.path(), "config.json", config.to_string().as_bytes());
    write(dir.path(), "rootfs/bin/app", b"#?");
    assert_ne!(get(&store, &source).unwrap().image.id(), first.id());
}

/// Answers one request on a Unix socket.
fn daemon(path: &Path, answer: Vec<u8>) -> thread::JoinHandle<String> {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        stream.write_all(&answer).unwrap();
        String::from_utf8(request).unwrap()
    })
}

#[test]
fn the_docker_daemon_hands_out_its_images() {
    let sample = Sample::of("daemon");
    let archive = docker_archive(&[(&sample, &["team/app:3"])]);
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in archive.chunks(5000) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend([chunk, b"\r\n"].concat());
    }
    let truncated = chunked.clone();
    chunked.extend(b"0\r\n\r\n");
    let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}".to_vec();
    let dir = tempfile::tempdir().unwrap();
    for (at, (answer, cause)) in [
        (chunked, None),
        (truncated, Some("cannot unpack the archive")),
        (missing, Some("has no image team/app:3")),
    ]
    .into_iter()
    .enumerate()
    {
        let socket = dir.path().join(at.to_string());
        let server = daemon(&socket, answer);
        let (_dir, store) = store();
        let docker_host = Some(format!("unix://{}", socket.display()));
        let got = get_with(&store, "docker-daemon:team/app:3", &ResolveOptions { docker_host, ..options() });
        match cause {
            None => {
                let found = got.unwrap();
                assert_eq!((found.origin, found.image.id()), (Origin::Daemon, sample.id()));
            }
            Some(cause) => {
                let error = failure(&store, got);
                assert!(error.contains(cause), "{error}");
            }
        }
        assert!(server.join().unwrap().starts_with("GET /images/team/app:3/get HTTP/1.1\r\n"));
    }
    let (_dir, store) = store();
    for (host, cause) in [("tcp://1.2.3.4:5", "only unix:// is supported"), ("unix:///none", "is it running")]
    {
        let remote = ResolveOptions { docker_host: Some(host.into()), ..options() };
        let error = failure(&store, get_with(&store, "docker-daemon:a", &remote));
        assert!(error.contains(cause), "{error}");
    }
}

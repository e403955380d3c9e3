//! What a container has written as a layer of an image: `GET /containers/{id}/layer`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use tests::{Host, Pod};

use super::scripted;

/// The archive, and the names in it.
fn layer(pod: &Pod<'_>, file: &std::path::Path) -> Vec<String> {
    let mut client = UnixStream::connect(pod.path().join("docker.sock")).unwrap();
    client.write_all(b"GET /containers/web/layer HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.0 200 OK"), "{}", String::from_utf8_lossy(&answer[..end]));
    fs::write(file, &answer[end + 4..]).unwrap();
    let listed = Command::new("tar").arg("-tf").arg(file).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let mut names: Vec<_> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn what_a_container_adds_changes_deletes_and_replaces_is_a_layer() {
    let host = Host::shared();
    let wishes = ["--tmpfs", "/scratch"];
    let script = "echo ready; exec sleep 1000";
    let mut served = scripted(&host, &wishes, script);
    let file = host.folder().join("layer.tar");
    assert_eq!(layer(&served.pod, &file), Vec::<String>::new(), "nothing but what the pod makes");
    served.docker.shell(
        "web",
        "echo x >/scratch/kept-out; mkdir -p /new/sub; echo added >/new/sub/file; ln /new/sub/file /new/twin
         ln -s sub /new/link; mkfifo -m 640 /new/fifo; chown 12:34 /new/fifo
         chmod 4711 /bin/busybox; rm -f /bin/ls; rm -rf /usr; mkdir -m 700 /usr; echo own >/usr/own",
    );
    let names = layer(&served.pod, &file);
    let has = |name: &str| names.iter().any(|other| other == name);
    for name in [
        "bin/",
        "bin/.wh.ls",
        "bin/busybox",
        "new/",
        "new/fifo",
        "new/link",
        "new/sub/",
        "new/sub/file",
        "new/twin",
    ] {
        assert!(has(name), "{name} is not in {names:?}");
    }
    assert!(has("usr/") && has("usr/.wh..wh..opq") && has("usr/own"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("scratch") || name.starts_with("etc/h")), "{names:?}");
    let unpacked = host.folder().join("layer");
    fs::create_dir(&unpacked).unwrap();
    let done = Command::new("tar").arg("-xpf").arg(&file).arg("-C").arg(&unpacked).status().unwrap();
    assert!(done.success());
    let meta = |path: &str| fs::symlink_metadata(unpacked.join(path)).unwrap();
    assert_eq!((meta("bin/busybox").mode() & 0o7777, meta("usr").mode() & 0o7777), (0o4711, 0o700));
    assert_eq!((meta("new/fifo").uid(), meta("new/fifo").gid(), meta("new/twin").nlink()), (12, 34, 2));
    assert_eq!(meta("bin/.wh.ls").len(), 0);
    host.succeed(&["stop", served.pod.name()]);
    served.running.end();
}

//! `docker pull`, `push`, `save`, `load`, `tag`, `rmi` and the other commands about images, against a registry on loopback.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use tests::Registry;

use crate::host::Host;
use crate::slow_registry::slow;

/// A root file system with one file.
fn root(dir: &Path, text: &str) -> String {
    let tree = dir.join(format!("tree-{text}"));
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/word"), text).unwrap();
    // More than fits into one piece of a transfer.
    let noise: Vec<u8> = (0..500_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    fs::write(tree.join("noise"), noise).unwrap();
    let file = dir.join(format!("{text}.tar"));
    let made = Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(&file).arg(".").status().unwrap();
    assert!(made.success());
    file.display().to_string()
}

/// A daemon with an image `made:1`.
fn made() -> Host {
    let host = Host::start();
    let file = root(&host.path(""), "word");
    let changes = [
        "--change",
        "CMD [\"run\", \"it\"]",
        "--change",
        "ENV A=1",
        "--change",
        "LABEL team=a",
        "-m",
        "by hand",
    ];
    let arguments: Vec<_> = ["import"].into_iter().chain(changes).chain([file.as_str(), "made:1"]).collect();
    let id = host.good(&arguments);
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    host
}

fn format(host: &Host, image: &str, template: &str) -> String {
    host.good(&["image", "inspect", "--format", template, image])
}

fn ids(host: &Host, arguments: &[&str]) -> Vec<String> {
    let arguments: Vec<_> = ["images", "-q", "--no-trunc"].iter().chain(arguments).copied().collect();
    let mut ids: Vec<_> = host.good(&arguments).lines().map(str::to_owned).collect();
    ids.dedup();
    ids
}

#[test]
fn an_imported_image_is_told_in_all_ways() {
    let host = made();
    assert_eq!(
        format(&host, "made:1", "{{.Config.Cmd}} {{.Config.Env}} {{.Comment}}"),
        "[run it] [A=1] by hand"
    );
    assert_eq!(
        format(&host, "made:1", "{{.RepoTags}} {{.RepoDigests}} {{.Os}}/{{.Architecture}}"),
        "[made:1] [] linux/amd64"
    );
    let table = host.good(&["images", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}", "--digests"]);
    assert_eq!(table, "made 1 <none>");
    let id = format(&host, "made:1", "{{.Id}}");
    assert_eq!(ids(&host, &["made"]), std::slice::from_ref(&id));
    assert_eq!(format(&host, &id[7..15], "{{.Id}}"), id, "by the beginning of its id");
    let history = host.good(&["history", "--no-trunc", "--format", "{{.ID}} {{.Comment}}", "made:1"]);
    assert_eq!(history, format!("{id} by hand"));
    for (filter, found) in [
        ("label=team=a", true),
        ("label=team=b", false),
        ("reference=ma*:1", true),
        ("reference=other", false),
        ("dangling=true", false),
        ("dangling=false", true),
        ("before=made:1", false),
    ] {
        assert_eq!(!ids(&host, &["--filter", filter]).is_empty(), found, "{filter}");
    }
    assert!(host.refused(&["images", "--filter", "colour=red"]).contains("invalid filter 'colour'"));
    assert!(host.refused(&["images", "--filter", "reference=["]).contains("syntax error in pattern"));
    assert!(host.refused(&["image", "inspect", "absent"]).contains("No such image: absent"));
    assert!(
        host.refused(&["import", "--change", "RUN x", &root(&host.path(""), "other")])
            .contains("RUN is not a valid change command")
    );
    let size: u64 = format(&host, "made:1", "{{.Size}}").parse().unwrap();
    assert!(size > 2_000_000, "{size}");
}

#[test]
fn images_go_to_a_registry_and_come_back_the_same() {
    let (host, registry) = (made(), Registry::empty());
    let name = registry.image("team/made:2");
    host.good(&["tag", "made:1", &name]);
    let said = host.good(&["push", &name]);
    assert!(
        said.contains(&format!("The push refers to repository [{}]", registry.image("team/made"))),
        "{said}"
    );
    assert!(said.contains(": Pushed"), "{said}");
    let digest = said.lines().last().unwrap().split_whitespace().nth(2).unwrap().to_owned();
    assert!(said.contains(&format!("2: digest: {digest} size: ")), "{said}");
    assert!(host.good(&["push", &name]).contains("Layer already exists"));
    assert_eq!(
        format(&host, &name, "{{.RepoDigests}}"),
        format!("[{}@{digest}]", registry.image("team/made"))
    );

    let other = Host::start();
    let said = other.good(&["pull", &name]);
    for line in [
        "2: Pulling from team/made",
        ": Pulling fs layer",
        ": Verifying Checksum",
        ": Download complete",
        ": Pull complete",
        &format!("Digest: {digest}"),
        &format!("Status: Downloaded newer image for {name}"),
        &name,
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let said = other.good(&["pull", &name]);
    assert!(said.contains(&format!("Status: Image is up to date for {name}")), "{said}");
    assert_eq!(format(&other, &name, "{{.Id}}"), format(&host, "made:1", "{{.Id}}"));
    assert!(other.good(&["pull", "-q", &name]).ends_with(&name));
    let by_digest = format!("{}@{digest}", registry.image("team/made"));
    assert!(other.good(&["pull", &by_digest]).contains(&format!("Digest: {digest}")));
    assert_eq!(format(&other, &by_digest, "{{.RepoTags}}"), format!("[{name}]"));
    // All tags of a repository.
    host.good(&["tag", "made:1", &registry.image("team/made:3")]);
    assert!(host.good(&["push", "-a", &registry.image("team/made")]).contains("3: digest: "));
    let all = other.good(&["pull", "-a", &registry.image("team/made")]);
    assert!(all.contains("2: Pulling from") && all.contains("3: Pulling from"), "{all}");
    assert_eq!(other.good(&["images", "-q", &registry.image("team/made")]).lines().count(), 2);
    let shown = other.good(&["manifest", "inspect", "--insecure", &name]);
    assert!(shown.contains("application/vnd.oci.image.manifest.v1+json"), "{shown}");
}

#[test]
fn what_cannot_be_pulled_is_told_in_dockers_words() {
    let (host, registry) = (made(), Registry::empty());
    let absent = registry.image("absent:1");
    let said = host.refused(&["pull", &absent]);
    assert!(
        said.contains(&format!("manifest for {absent} not found: manifest unknown: manifest unknown")),
        "{said}"
    );
    let (code, _, said) = host.run(&["pull", "--platform", "linux/arm64", &absent]);
    assert_eq!(code, 1);
    assert!(said.contains("no matching manifest for linux/arm64 in the manifest list entries"), "{said}");
    let said = host.refused(&["push", &absent]);
    assert!(
        said.contains(&format!("An image does not exist locally with the tag: {}", registry.image("absent"))),
        "{said}"
    );
    let said = host.refused(&["pull", "127.0.0.1:1/nobody:1"]);
    assert!(said.contains("cannot reach the registry 127.0.0.1:1"), "{said}");
    // A layer that is gone there, after the first lines.
    let name = registry.image("torn:1");
    host.good(&["tag", "made:1", &name]);
    host.good(&["push", &name]);
    for blob in fs::read_dir(registry.storage().join("docker/registry/v2/blobs/sha256")).unwrap() {
        for blob in fs::read_dir(blob.unwrap().path()).unwrap() {
            let data = blob.unwrap().path().join("data");
            if fs::metadata(&data).unwrap().len() > 10_000 {
                fs::write(&data, vec![0; 20_000]).unwrap();
            }
        }
    }
    let other = Host::start();
    let (code, out, said) = other.run(&["pull", &name]);
    assert_eq!(code, 1);
    assert!(out.contains("Pulling fs layer") && said.contains("mismatch"), "{out} {said}");
    assert!(ids(&other, &["-a"]).is_empty());
}

#[test]
fn logins_are_checked_and_used() {
    let (host, registry) = (made(), Registry::with_login());
    let name = registry.image("private/made:1");
    host.good(&["tag", "made:1", &name]);
    let said = host.refused(&["push", &name]);
    assert!(said.contains("unauthorized"), "{said}");
    let said = host.refused(&["login", "-u", "user", "-p", "wrong", registry.host()]);
    assert!(said.contains("unauthorized"), "{said}");
    let said = host.good(&["login", "-u", "user", "-p", "secret", registry.host()]);
    assert!(said.contains("Login Succeeded"), "{said}");
    assert!(host.good(&["push", &name]).contains(": Pushed"));
    assert!(host.good(&["pull", &name]).contains("Image is up to date"));
    let other = Host::start();
    let said = other.refused(&["pull", &name]);
    let wanted = format!(
        "pull access denied for {}, repository does not exist or may require 'docker login'",
        registry.image("private/made")
    );
    assert!(said.contains(&wanted), "{said}");
}

#[test]
fn archives_are_saved_and_loaded() {
    let host = made();
    host.good(&["tag", "made:1", "made:2"]);
    let file = host.path("saved.tar").display().to_string();
    host.good(&["save", "-o", &file, "made:1", "made:2"]);
    let other = Host::start();
    let said = other.good(&["load", "-i", &file]);
    assert!(said.contains("Loaded image: made:1") && said.contains("Loaded image: made:2"), "{said}");
    assert_eq!(format(&other, "made:2", "{{.Id}}"), format(&host, "made:1", "{{.Id}}"));
    assert!(other.good(&["load", "-q", "-i", &file]).contains("Loaded image: made:2"));
    let id = format(&host, "made:1", "{{.Id}}");
    host.good(&["save", "-o", &file, &id]);
    let third = Host::start();
    assert_eq!(third.good(&["load", "-q", "-i", &file]), format!("Loaded image ID: {id}"));
    assert_eq!(third.good(&["images", "--format", "{{.Repository}}:{{.Tag}}"]), "<none>:<none>");

    assert!(host.refused(&["save", "-o", &file, "absent"]).contains("No such image: absent"));
    fs::write(&file, b"this is no archive").unwrap();
    let said = host.refused(&["load", "-i", &file]);
    assert!(said.contains("no tar archive"), "{said}");
    // Libraries look for it among the lines, and take an error of the request for one of their own.
    let (code, answer) = other.ask("POST /images/load", b"abc");
    assert!(code == 200 && answer.contains(r#""errorDetail":{"message":"#), "{answer}");
    // Up to the next second: what has happened by now is older.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let until = (now + 1).to_string();
    let events = host.good(&[
        "events",
        "--since",
        "0",
        "--until",
        &until,
        "--format",
        "{{.Type}} {{.Action}}",
        "--filter",
        "type=image",
    ]);
    for action in ["image import", "image tag", "image save"] {
        assert!(events.contains(action), "{action}: {events}");
    }
}

#[test]
fn names_and_images_are_removed() {
    let host = made();
    let id = format(&host, "made:1", "{{.Id}}");
    host.good(&["tag", "made:1", "other:1"]);
    assert_eq!(host.good(&["rmi", "made:1"]), "Untagged: made:1");
    let said = host.good(&["rmi", "other:1"]);
    assert_eq!(said, format!("Untagged: other:1\nDeleted: {id}"));
    assert!(host.refused(&["rmi", "other:1"]).contains("No such image: other:1"));
    assert_eq!(fs::read_dir(host.path("images/layers")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(host.path("images/blobs")).unwrap().count(), 0);

    // An image whose name moved stays until it is pruned.
    let [first, second] = ["first", "second"].map(|text| {
        let file = root(&host.path(""), text);
        host.good(&["import", &file, "same:1"])
    });
    assert_eq!(ids(&host, &["--filter", "dangling=true"]), std::slice::from_ref(&first));
    let said = host.good(&["image", "prune", "-f"]);
    assert!(
        said.contains(&format!("deleted: {first}")) && said.contains("Total reclaimed space: "),
        "{said}"
    );
    assert!(!said.contains("reclaimed space: 0B"), "{said}");
    assert_eq!(ids(&host, &[]), std::slice::from_ref(&second));
    let said = host.good(&["image", "prune", "-af"]);
    assert!(said.contains("untagged: same:1") && said.contains(&format!("deleted: {second}")), "{said}");
    assert!(ids(&host, &["-a"]).is_empty());
}

#[test]
fn what_is_not_done_is_refused_with_a_way_out() {
    let host = Host::start();
    let dir = host.path("context");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("Dockerfile"), "FROM scratch\n").unwrap();
    let mut docker = Command::new("docker");
    docker.env("DOCKER_BUILDKIT", "0").arg("-H").arg(format!("unix://{}", host.socket().display()));
    let output = docker.args(["build", "-t", "x"]).arg(&dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("docker load"), "{said}");
    assert!(host.refused(&["search", "busybox"]).contains("searches no registries"));
    assert!(host.good(&["builder", "prune", "-f"]).contains("Total"));
}

#[test]
fn the_wire_has_the_forms_that_clients_expect() {
    let host = made();
    let list = get(&host, "/v1.50/images/json?shared-size=1&manifests=1");
    let image = &list[0];
    assert_eq!(image["RepoTags"], json!(["made:1"]));
    assert_eq!((&image["RepoDigests"], &image["ParentId"]), (&json!([]), &json!("")));
    assert_eq!((&image["SharedSize"], &image["Containers"]), (&json!(0), &json!(0)));
    assert_eq!(image["Manifests"][0]["Available"], json!(true));
    assert_eq!(image["Labels"], json!({"team": "a"}));
    assert!(image.get("VirtualSize").is_none());
    assert_eq!(get(&host, "/v1.43/images/json")[0]["VirtualSize"], image["Size"]);
    assert_eq!(
        get(&host, "/images/json?filters=%7B%22reference%22%3A%5B%22made%22%5D%7D")[0]["Id"],
        image["Id"]
    );
    let inspect = get(&host, "/v1.50/images/made:1/json");
    assert_eq!(inspect["RootFS"]["Type"], json!("layers"));
    assert_eq!(inspect["Config"]["Entrypoint"], Value::Null);
    assert!(inspect["Descriptor"]["digest"].as_str().unwrap().starts_with("sha256:"));
    let history = get(&host, "/images/made:1/history");
    assert_eq!((&history[0]["Tags"], history[0]["Size"].as_u64().unwrap() > 0), (&json!(["made:1"]), true));
}

#[test]
fn an_upload_whose_client_goes_leaves_nothing() {
    let host = Host::start();
    let temporary = || fs::read_dir(host.path("images/tmp")).unwrap().count();
    for path in ["/images/create?fromSrc=-&repo=half", "/images/load"] {
        let mut stream = std::os::unix::net::UnixStream::connect(host.socket()).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let piece = [b"8000\r\n".as_slice(), &[b'x'; 0x8000], b"\r\n"].concat();
        // More than waits on the way: some of it is in the file.
        for _ in 0..64 {
            stream.write_all(&piece).unwrap();
        }
        assert_eq!(temporary(), 1, "{path}");
        drop(stream);
        while temporary() > 0 {
            std::thread::yield_now();
        }
    }
    assert!(ids(&host, &["-a"]).is_empty());
}

#[test]
fn a_pull_whose_client_goes_is_broken_off() {
    let (host, registry) = (made(), Registry::empty());
    let name = registry.image("made:1");
    host.good(&["tag", "made:1", &name]);
    host.good(&["push", &name]);
    let (address, has_begun, has_ended) = slow(&registry);
    let other = Host::start();
    let mut docker = Command::new("docker");
    docker.arg("-H").arg(format!("unix://{}", other.socket().display()));
    let mut client =
        docker.args(["pull", &format!("{address}/made:1")]).stdout(Stdio::null()).spawn().unwrap();
    has_begun.recv().unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
    has_ended.recv().unwrap();
    while fs::read_dir(other.path("images/tmp")).unwrap().count() > 0 {
        std::thread::yield_now();
    }
    assert!(ids(&other, &["-a"]).is_empty());
}

#[test]
fn a_login_that_cannot_be_read_counts_as_none() {
    let (host, registry) = (made(), Registry::empty());
    let name = registry.image("made:1");
    host.good(&["tag", "made:1", &name]);
    host.good(&["push", &name]);
    let path = format!("/images/create?fromImage={}&tag=1", registry.image("made"));
    // `null`, no JSON, no base64.
    for header in ["bnVsbA==", "eA==", "{}", ""] {
        let answer = ask(&host, "POST", &path, &format!("X-Registry-Auth: {header}\r\n"));
        assert!(answer.contains("Image is up to date"), "{header}: {answer}");
    }
}

/// What is answered to a request without a body.
fn ask(host: &Host, method: &str, path: &str, headers: &str) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(host.socket()).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The JSON of a `GET`.
fn get(host: &Host, path: &str) -> Value {
    let answer = ask(host, "GET", path, "");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {body}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn a_start_removes_what_a_killed_daemon_left_of_a_pull() {
    let mut host = made();
    let half = host.path("images/tmp/1-0");
    fs::write(&half, "half a layer").unwrap();
    host.resume();
    assert!(!half.exists());
    assert!(host.good(&["image", "ls", "-q"]).len() >= 12, "the image stays");
}

//! Real servers from a registry on loopback and from archives: they start, answer inside the pod and stop.

use serde_json::{Value, json};
use tests::{Host, Pod, Registry, images};

/// A pod of a server and a client that ends the pod.
fn with_client<'h>(host: &'h Host, server: &Value, image: &str, client: &str) -> Pod<'h> {
    host.summon_file(&json!({
        "resources": {"cpu": 1, "mem": 512},
        "containers": [
            {
                "name": "client",
                "image": {"ref": image},
                "process": {"cmd": ["sh", "-c", client]},
                "lifecycle": {"critical": true},
            },
            server,
        ],
    }))
}

#[test]
fn debian_runs_from_a_registry() {
    let (host, registry) = (Host::shared(), Registry::start());
    let script =
        ". /etc/os-release; echo $VERSION_CODENAME; perl -e 'print 6 * 7, \"\\n\"'; dpkg -l apt | tail -1";
    let output = host.summon(&[], &registry.image("debian"), &["bash", "-c", script]).run().good();
    assert!(output.starts_with("bookworm\n42\nii  apt "), "{output}");
}

#[test]
fn busybox_runs_from_every_kind_of_source() {
    let (host, registry) = (Host::empty(), Registry::start());
    let sources = [
        registry.image("busybox"),
        format!("docker://{}", registry.image("busybox:docker")),
        registry.image("multi"),
        images::archive("busybox.docker.tar"),
        images::archive("edge.oci.tar"),
        images::layout("busybox"),
    ];
    for (number, source) in sources.iter().enumerate() {
        let command = ["/bin/busybox", "echo", "from", source.as_str()];
        let pod = host.summon_as(&format!("pod-{number}"), &[], source, &command);
        assert_eq!(pod.run().good(), format!("from {source}\n"));
    }
}

#[test]
fn nginx_serves_its_page() {
    let (host, registry) = (Host::shared(), Registry::start());
    let server = json!({"name": "web", "image": {"ref": registry.image("nginx")}});
    // The second request is answered when the first one is logged: there is one worker.
    let client = "until wget -qO- 127.0.0.1 2>/dev/null; do sleep 0.2; done; wget -qO- 127.0.0.1";
    let ended = with_client(&host, &server, &images::layout("busybox"), client).run();
    assert_eq!(ended.good_of("client"), "<h1>it works</h1>\n".repeat(2));
    // The image logs to /dev/stdout, which is the container's.
    assert!(ended.good_of("web").contains("\"GET / HTTP/1.1\" 200"), "{}", ended.out());
}

#[test]
fn redis_keeps_a_value() {
    let host = Host::shared();
    let image = images::archive("redis.oci.tar");
    let server = json!({"name": "redis", "image": {"ref": image}});
    let client = "
        until redis-cli ping >/dev/null 2>&1; do sleep 0.2; done
        redis-cli set answer 42 && redis-cli get answer";
    assert_eq!(with_client(&host, &server, &image, client).run().good_of("client"), "OK\n42\n");
}

#[test]
fn mariadb_makes_its_data_and_answers_a_query() {
    let (host, registry) = (Host::shared(), Registry::start());
    let image = registry.image("mariadb");
    let server = json!({
        "name": "db",
        "image": {"ref": image},
        "process": {"env": [{"name": "MARIADB_DATABASE", "value": "shop"}]},
    });
    let client = "
        query() { mariadb --protocol=tcp -h 127.0.0.1 -u root -N -B -e \"$1\" shop; }
        until query 'select 1' >/dev/null 2>&1; do sleep 0.5; done
        query 'create table t (n int); insert into t values (40), (2); select sum(n) from t'";
    assert_eq!(with_client(&host, &server, &image, client).run().good_of("client"), "42\n");
}

#[test]
fn two_summons_of_one_image_at_once_both_work() {
    let (host, registry) = (Host::empty(), Registry::start());
    let image = registry.image("twenty");
    std::thread::scope(|scope| {
        for name in ["one", "two"] {
            let (host, image) = (&host, &image);
            scope.spawn(move || {
                let pod = host.summon_as(name, &[], image, &["cat", "/layers/last"]);
                assert_eq!(pod.run().good(), "20\n");
            });
        }
    });
}

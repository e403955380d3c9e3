//! A project of docker compose: a proxy in front of two workers, a cache and a database.

use std::path::Path;

use tests::{Daemon, Host, Registry};

use super::networks::{ask, get, published};

/// Somebody who is nobody here.
const USER: u32 = 4711;

const WORKER: &str = "mkdir /www; hostname >/www/index.html; exec httpd -f -p 8000 -h /www";
const PROXY: &str = r"printf 'events {} http { access_log off; upstream workers { server worker:8000; } server { listen 80; listen [::]:80; location / { proxy_pass http://workers; } } }' >/etc/nginx/nginx.conf; exec nginx -g 'daemon off;'";
const ECHO: &str = r#"use Socket ':all'; socket(S, AF_INET6, SOCK_DGRAM, 0); bind(S, pack_sockaddr_in6(5353, IN6ADDR_ANY));
    while (my $$from = recv(S, my $$text, 64, 0)) { send(S, "echo $$text", 0, $$from) }"#;

/// Writes the project; JSON is YAML too.
fn write(folder: &Path, registry: &Registry) {
    let healthy = |names: &[&str]| -> serde_json::Value {
        names
            .iter()
            .map(|name| ((*name).to_owned(), serde_json::json!({"condition": "service_healthy"})))
            .collect()
    };
    let health =
        |test: &[&str]| serde_json::json!({"test": test, "interval": "1s", "timeout": "20s", "retries": 120});
    let project = serde_json::json!({
        "name": "shop",
        "services": {
            "proxy": {
                "image": registry.image("nginx"), "command": ["sh", "-c", PROXY], "ports": ["80"],
                "networks": ["front"], "depends_on": healthy(&["worker"]),
            },
            "worker": {
                "image": registry.image("busybox"), "command": ["sh", "-c", WORKER], "scale": 2, "networks": ["front"],
                "depends_on": healthy(&["cache", "db"]), "mem_limit": "64m",
                "healthcheck": health(&["CMD", "wget", "-qO", "/dev/null", "http://127.0.0.1:8000/"]),
            },
            "cache": {
                "image": registry.image("redis"), "networks": {"front": {"aliases": ["memory"]}},
                "volumes": ["cache:/data"], "healthcheck": health(&["CMD", "redis-cli", "ping"]),
            },
            "db": {
                "image": registry.image("mariadb"), "environment": {"MARIADB_DATABASE": "shop"}, "networks": ["front"],
                "volumes": ["db:/var/lib/mysql"], "healthcheck": health(&["CMD", "mariadb", "-e", "select 1", "shop"]),
            },
            "echo": {
                "image": registry.image("debian"), "command": ["perl", "-e", ECHO], "ports": ["5353/udp"],
                "networks": ["front"], "stop_grace_period": "0s",
            },
            "once": {
                "image": registry.image("busybox"), "command": ["wget", "-qO-", "http://proxy/"], "networks": ["front"],
                "profiles": ["tools"],
            },
        },
        "networks": {"front": {"enable_ipv6": true}},
        "volumes": {"cache": {}, "db": {}},
    });
    std::fs::write(folder.join("compose.json"), project.to_string()).unwrap();
}

#[test]
fn a_project_comes_up_works_and_goes() {
    let host = Host::shared();
    project(&host, &Daemon::start(&host), true);
}

#[test]
fn a_project_of_an_ordinary_user_does_too() {
    let host = Host::empty();
    project(&host, &Daemon::start_as(&host, USER), false);
}

/// `later`: also what is done with a project that is up.
fn project(host: &Host, daemon: &Daemon<'_>, later: bool) {
    let (docker, registry) = (daemon.docker().with_compose(), Registry::start());
    let folder = host.folder().join("project");
    std::fs::create_dir(&folder).unwrap();
    write(&folder, &registry);
    let file = folder.join("compose.json");
    let compose = |arguments: &[&str]| {
        docker.good(&[&["compose", "--progress", "plain", "-f", file.to_str().unwrap()], arguments].concat())
    };
    compose(&["up", "-d", "--quiet-pull", "--wait"]);
    let ids = docker.good(&["ps", "-q", "--no-trunc"]);
    assert_eq!(ids.lines().count(), 6, "{ids}");

    // Both workers answer behind the proxy, in both families.
    let workers = |count: usize| {
        let mut names = std::collections::BTreeSet::new();
        let port = published(&docker, "shop-proxy-1", "80/tcp");
        for address in ["127.0.0.1", "[::1]"].iter().cycle().take(8 * count) {
            names.insert(get(&format!("{address}:{port}")));
        }
        assert_eq!(names.len(), count, "{names:?}");
    };
    workers(2);
    for address in ["127.0.0.1", "[::1]"] {
        assert_eq!(
            ask(&format!("{address}:{}", published(&docker, "shop-echo-1", "5353/udp"))),
            "echo hello"
        );
    }

    // Names of services, of containers and aliases.
    assert_eq!(compose(&["exec", "-T", "db", "mariadb", "-N", "-e", "select 40 + 2", "shop"]), "42\n");
    assert_eq!(compose(&["exec", "-T", "db", "sh", "-c", "getent ahostsv4 worker | grep -c STREAM"]), "2\n");
    for name in ["cache", "memory", "shop-cache-1"] {
        assert_eq!(compose(&["exec", "-T", "cache", "redis-cli", "-h", name, "set", "answer", "42"]), "OK\n");
    }
    assert!(compose(&["logs", "cache"]).contains("Ready to accept connections"));

    if later {
        // All is there, and nothing is made again.
        compose(&["up", "-d", "--wait"]);
        assert_eq!(docker.good(&["ps", "-q", "--no-trunc"]), ids);

        // What has a profile did not come up, and runs when it is asked for.
        assert_eq!(compose(&["run", "--rm", "-T", "--no-deps", "once"]).trim().len(), 12);

        compose(&["up", "-d", "--wait", "--no-recreate", "--scale", "worker=3"]);
        assert_eq!(
            compose(&["exec", "-T", "db", "sh", "-c", "getent ahostsv4 worker | grep -c STREAM"]),
            "3\n"
        );
        compose(&["restart", "-t", "1", "cache"]);
        assert_eq!(compose(&["exec", "-T", "worker", "hostname"]).trim().len(), 12);
    }

    compose(&["down", "-v", "-t", "1"]);
    for list in [&["ps", "-aq"][..], &["volume", "ls", "-q"], &["network", "ls", "-q", "-f", "type=custom"]] {
        assert_eq!(docker.good(list), "", "{list:?}");
    }
}

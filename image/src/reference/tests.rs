//! Tables of references: completed, shortened, refused.

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn references_are_completed_and_shortened() {
    let digest = format!("sha256:{HEX}");
    let table = [
        ("redis", "docker.io/library/redis:latest", "redis:latest"),
        ("redis:7", "docker.io/library/redis:7", "redis:7"),
        ("docker.io/redis", "docker.io/library/redis:latest", "redis:latest"),
        ("index.docker.io/library/redis", "docker.io/library/redis:latest", "redis:latest"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("ghcr.io/a/b-c__d.e:V1", "ghcr.io/a/b-c__d.e:V1", "ghcr.io/a/b-c__d.e:V1"),
        ("Host/app", "Host/app:latest", "Host/app:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
        ("a---b", "docker.io/library/a---b:latest", "a---b:latest"),
        (
            &format!("redis@{digest}"),
            &format!("docker.io/library/redis@{digest}"),
            &format!("redis@{digest}"),
        ),
        (
            &format!("redis:7@{digest}"),
            &format!("docker.io/library/redis:7@{digest}"),
            &format!("redis:7@{digest}"),
        ),
    ];
    for (text, complete, familiar) in table {
        let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(reference.to_string(), complete);
        assert_eq!(reference.familiar(), familiar);
        assert_eq!(complete.parse(), Ok(reference), "{complete}");
    }
}

#[test]
fn malformed_references_are_refused_in_dockers_words() {
    let long = "a".repeat(256);
    let table = [
        ("", "invalid reference format"),
        (":tag", "invalid reference format"),
        ("redis:", "invalid reference format"),
        ("redis@sha256:12", "invalid reference format"),
        ("-redis", "invalid reference format"),
        ("redis_", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("../etc", "invalid reference format"),
        ("host:port/app", "invalid reference format"),
        ("ho st.de/app", "invalid reference format"),
        ("redis:-x", "invalid reference format"),
        ("redis\n", "invalid reference format"),
        ("Redis", "invalid reference format: repository name (library/Redis) must be lowercase"),
        ("ghcr.io/A/b", "invalid reference format: repository name (A/b) must be lowercase"),
        (&long, "repository name must not be more than 255 characters"),
        (HEX, &format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings")),
    ];
    for (text, message) in table {
        let error = text.parse::<Reference>().expect_err(text);
        assert_eq!(error.to_string(), message, "{text:?}");
    }
}

#[test]
fn only_this_machine_is_loopback() {
    for (text, loopback) in [
        ("localhost:5000/a", true),
        ("127.1.2.3/a", true),
        ("[::1]:5000/a", true),
        ("localhost.de/a", false),
        ("128.0.0.1:5000/a", false),
        ("[::2]/a", false),
        ("a", false),
    ] {
        assert_eq!(text.parse::<Reference>().unwrap().is_loopback(), loopback, "{text}");
    }
}

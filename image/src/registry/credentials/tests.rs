//! Files as `docker login` writes them, and a helper that is a shell script.

use super::*;

fn password(user: &str, secret: &str) -> Option<Credentials> {
    Some(Credentials::Password { user: user.into(), secret: secret.into() })
}

fn file(json: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    fs::write(&path, json).unwrap();
    (dir, path)
}

#[test]
fn logins_are_found_by_host() {
    let (_dir, path) = file(
        r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnM6eA=="},
            "localhost:5000":{"auth":"dXNlcjpwYXNz"},"http://old.example/v2/":{"username":"a","password":"b"},
            "t.example":{"auth":"","identitytoken":"tok"},"bad.example":{"auth":"!"}, "store.example":{}}}"#,
    );
    let find = |domain| find_in(&path, domain);
    assert!(find("docker.io").unwrap() == password("hub", "s:x"));
    assert!(find("localhost:5000").unwrap() == password("user", "pass"));
    assert!(find("old.example").unwrap() == password("a", "b"));
    assert!(find("t.example").unwrap() == Some(Credentials::Token("tok".into())));
    assert!(find("store.example").unwrap().is_none() && find("localhost").unwrap().is_none());
    assert!(matches!(find("bad.example"), Err(CredentialsError::Auth(_))));
}

#[test]
fn files_that_are_missing_or_malformed_are_told_apart() {
    let (dir, path) = file("{");
    assert!(matches!(find_in(&path, "a.example"), Err(CredentialsError::Parse(..))));
    assert!(find_in(&dir.path().join("none.json"), "a.example").unwrap().is_none());
    let (_dir, path) = file(r#"{"credsStore":"../x"}"#);
    assert!(matches!(find_in(&path, "a.example"), Err(CredentialsError::Name(_))));
    let (_dir, path) = file(r#"{"credsStore":"of-that-name-there-is-none"}"#);
    assert!(matches!(find_in(&path, "a.example"), Err(CredentialsError::Run(..))));
}

//! Logins that `docker login` keeps: `config.json` in `$DOCKER_CONFIG` or `~/.docker`, and the credential helpers it
//! names (`docker-credential-NAME get`).

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

/// What Docker calls its own registry in that file.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A helper's longest answer in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        secret: String,
    },
    /// A token that a login server takes for another one.
    Token(String),
    /// A token that the registry itself takes.
    Bearer(String),
}

/// Where a login comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// From where `docker login` keeps it on this machine.
    #[default]
    Stored,
    /// From a client, which may have none.
    Given(Option<Credentials>),
}

// It must not come into a message.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Reads the login that a client of the Docker API sends in a request's headers or body: Docker's `AuthConfig`.
    /// `None` where it has nothing in it.
    ///
    /// # Errors
    /// The text is not JSON of that form.
    pub fn from_json(json: &[u8]) -> Result<Option<Self>, CredentialsError> {
        let auth: Auth =
            serde_json::from_slice(json).map_err(|_| CredentialsError::Auth("the request".to_owned()))?;
        if !auth.registrytoken.is_empty() {
            return Ok(Some(Self::Bearer(header_value(auth.registrytoken)?)));
        }
        decode(&auth, "the request")
    }

    /// The same, as it stands in `X-Registry-Auth`: in base64 for URLs, or the usual one, padded or not.
    ///
    /// # Errors
    /// The text is neither base64 nor JSON in it.
    pub fn from_header(value: &str) -> Result<Option<Self>, CredentialsError> {
        let bad = |_| CredentialsError::Auth("the request".to_owned());
        let text = value.trim().trim_end_matches('=').replace('-', "+").replace('_', "/");
        let json = STANDARD_NO_PAD.decode(text).map_err(bad)?;
        if json.is_empty() { Ok(None) } else { Self::from_json(&json) }
    }
}

/// A text that goes into a header as it is.
fn header_value(text: String) -> Result<String, CredentialsError> {
    let fits = text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text) } else { Err(CredentialsError::Auth("the request".to_owned())) }
}

/// Why stored credentials cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file is there but cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The file is not what `docker login` writes.
    #[error("{} is malformed", .0.display())]
    Parse(PathBuf, #[source] serde_json::Error),
    /// An entry is not base64 of `user:password`.
    #[error("the login for {0} is malformed")]
    Auth(String),
    /// A helper's name that is no file name.
    #[error("invalid credential helper name {0:?}")]
    Name(String),
    /// A helper cannot be run.
    #[error("cannot run docker-credential-{0}")]
    Run(String, #[source] io::Error),
    /// A helper failed.
    #[error("docker-credential-{0} failed: {1}")]
    Helper(String, String),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// The login for a registry, if there is one; `dir` stands in for `$DOCKER_CONFIG`.
pub(super) fn find(dir: Option<&Path>, domain: &str) -> Result<Option<Credentials>, CredentialsError> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".docker"));
    let told = || env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let dir = dir.map(Path::to_owned).or_else(told).or_else(home);
    dir.map_or(Ok(None), |dir| find_in(&dir.join("config.json"), domain))
}

fn find_in(file: &Path, domain: &str) -> Result<Option<Credentials>, CredentialsError> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(CredentialsError::Read(file.to_owned(), error)),
    };
    let config: DockerConfig =
        serde_json::from_slice(&bytes).map_err(|error| CredentialsError::Parse(file.to_owned(), error))?;
    let server = if domain == "docker.io" { DOCKER_HUB } else { domain };
    let named = config.cred_helpers.iter().find(|(key, _)| same_host(key, server)).map(|(_, helper)| helper);
    if let Some(helper) = named.or(Some(&config.creds_store)).filter(|helper| !helper.is_empty())
        && let Some(found) = ask(helper, server)?
    {
        return Ok(Some(found));
    }
    let entry = config.auths.iter().find(|(key, _)| same_host(key, server));
    entry.map_or(Ok(None), |(_, auth)| decode(auth, domain))
}

/// Keys are hosts or, from old days, URLs.
fn same_host(key: &str, server: &str) -> bool {
    let host = |text: &str| {
        let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        text.split('/').next().unwrap_or_default().to_owned()
    };
    host(key) == host(server) || key == "docker.io" && server == DOCKER_HUB
}

fn decode(auth: &Auth, domain: &str) -> Result<Option<Credentials>, CredentialsError> {
    if !auth.identitytoken.is_empty() {
        return Ok(Some(Credentials::Token(auth.identitytoken.clone())));
    }
    if auth.auth.is_empty() {
        let (user, secret) = (auth.username.clone(), auth.password.clone());
        return Ok((!user.is_empty()).then_some(Credentials::Password { user, secret }));
    }
    let malformed = || CredentialsError::Auth(domain.to_owned());
    let bytes = STANDARD.decode(auth.auth.trim()).map_err(|_| malformed())?;
    let text = String::from_utf8(bytes).map_err(|_| malformed())?;
    let (user, secret) = text.split_once(':').ok_or_else(malformed)?;
    let secret = secret.trim_end_matches('\0').to_owned();
    Ok(Some(Credentials::Password { user: user.to_owned(), secret }))
}

/// Asks a credential helper; it says so itself where it knows nothing.
fn ask(helper: &str, server: &str) -> Result<Option<Credentials>, CredentialsError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    if helper.contains('/') || helper.contains('\0') {
        return Err(CredentialsError::Name(helper.to_owned()));
    }
    let failed = |error| CredentialsError::Run(helper.to_owned(), error);
    let mut command = Command::new(format!("docker-credential-{helper}"));
    let command = command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read has an answer of its own all the same.
        let _ = stdin.write_all(server.as_bytes());
    }
    let mut answer = Vec::new();
    let read = child.stdout.take().map(|stdout| stdout.take(MAX_ANSWER).read_to_end(&mut answer));
    read.transpose().map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    let text = String::from_utf8_lossy(&answer);
    if !status.success() {
        if text.contains("credentials not found") {
            return Ok(None);
        }
        let line: String = text.trim().chars().take(200).collect();
        return Err(CredentialsError::Helper(helper.to_owned(), line.escape_debug().to_string()));
    }
    let answer: Answer = serde_json::from_slice(&answer)
        .map_err(|_| CredentialsError::Helper(helper.to_owned(), "its answer is malformed".to_owned()))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credentials::Token(answer.secret),
        _ => Credentials::Password { user: answer.username, secret: answer.secret },
    }))
}

#[cfg(test)]
mod tests;

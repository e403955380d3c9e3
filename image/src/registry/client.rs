//! Requests to one repository of one registry: scheme, login, retries, errors.

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde::Deserialize;
use ureq::config::{AutoHeaderValue, RedirectAuthHeaders};
use ureq::http::header::{self, HeaderName};
use ureq::http::{Method, Request, Response, StatusCode, Uri};
use ureq::{Agent, Body, SendBody};

use super::auth::{self, Challenge};
use super::credentials::{self, Credentials, Login};
use super::hosts::{Endpoint, Registries};
use super::{Patience, RegistryError, tls};
use crate::digest::Digest;
use crate::manifest::{ACCEPT, MAX_DOCUMENT};
use crate::progress::{Event, Progress};
use crate::reference::{Reference, is_loopback};
use crate::resolve::ResolveOptions;

const USER_AGENT: &str = concat!("cradle/", env!("CARGO_PKG_VERSION"));

const MAX_REDIRECTS: u32 = 5;

/// The time in which a registry on this machine must show that it speaks TLS.
const PROBE: Duration = Duration::from_secs(10);

/// Bytes of an error's body that are looked at.
const MAX_ERROR: u64 = 64 << 10;

/// What is asked of a login server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Reading the repository.
    Pull,
    /// Writing it, and reading another one of the same registry where that has layers already.
    Push(Option<String>),
    /// Nothing but the login itself.
    Login,
}

/// A repository that can be asked.
pub(crate) struct Client<'a> {
    agent: Agent,
    /// For other machines than the registry's, where that is trusted blindly: trusts nobody without a certificate.
    outside: OnceLock<Agent>,
    base: String,
    endpoint: Endpoint,
    registries: Registries,
    name: Reference,
    access: Access,
    authorization: Mutex<Option<String>>,
    login: Login,
    docker_config: Option<PathBuf>,
    cancel: Option<&'a AtomicBool>,
    pub(super) patience: Patience,
}

impl<'a> Client<'a> {
    /// Finds out how to speak to a server: TLS, or plain HTTP to an insecure one where TLS fails.
    pub(super) fn connect(
        name: &Reference,
        endpoint: Endpoint,
        access: Access,
        options: &ResolveOptions<'a>,
    ) -> Result<Self, RegistryError> {
        let host = &endpoint.host;
        let login = if endpoint.mirror { Login::Given(None) } else { options.login.clone() };
        let client = Self {
            agent: agent(host, endpoint.insecure, &options.patience),
            outside: OnceLock::new(),
            base: format!("{}://{host}", endpoint.scheme.unwrap_or("https")),
            registries: options.registries.clone(),
            name: name.clone(),
            access,
            authorization: Mutex::new(None),
            login,
            docker_config: options.docker_config.clone(),
            cancel: options.cancel,
            patience: options.patience.clone(),
            endpoint,
        };
        let probe = || {
            let request = client.agent.get(format!("{}/v2/", client.base));
            // A server without TLS may wait for the rest of what it takes for a request.
            request.config().timeout_global(Some(PROBE.min(options.patience.idle))).build().call()
        };
        let endpoint = &client.endpoint;
        if !endpoint.insecure || endpoint.scheme.is_some() || probe().is_ok() {
            return Ok(client);
        }
        Ok(Self { base: format!("http://{}", endpoint.host), ..client })
    }

    pub(super) fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// The agent for an address that the registry named. What goes for an insecure registry, no check of certificates
    /// and for this machine no proxy, goes for no other host.
    pub(super) fn agent(&self, url: &str) -> &Agent {
        if self.endpoint.insecure && !self.is_insecure(url) {
            self.outside.get_or_init(|| agent(self.host(), false, &self.patience))
        } else {
            &self.agent
        }
    }

    /// Whether an address is of this machine or of another insecure registry.
    fn is_insecure(&self, url: &str) -> bool {
        // Not by the text: `http://localhost:80@elsewhere/` is elsewhere.
        let Ok(uri) = url.parse::<Uri>() else { return false };
        let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        uri.host().is_some_and(|host| self.registries.is_insecure(&format!("{host}{port}")))
    }

    /// Whether a login may be sent to an address: over TLS, or to an insecure host where the registry has no TLS
    /// either.
    pub(super) fn may_tell(&self, url: &str) -> bool {
        let uri = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
        match uri.as_ref().and_then(Uri::scheme_str) {
            Some("https") => true,
            Some("http") => self.base.starts_with("http:") && self.is_insecure(url),
            _ => false,
        }
    }

    /// What the login server is asked for, and nothing else.
    pub(super) fn scopes(&self) -> Vec<String> {
        let own = self.name.path();
        match &self.access {
            Access::Pull => vec![format!("repository:{own}:pull")],
            Access::Push(from) => {
                let from = from.iter().map(|from| format!("repository:{from}:pull"));
                [format!("repository:{own}:pull,push")].into_iter().chain(from).collect()
            }
            Access::Login => Vec::new(),
        }
    }

    /// Gets a manifest or small blob whole, trying again where that may help.
    pub(super) fn document(
        &self,
        kind: &str,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut failures = 0;
        loop {
            match self.try_document(kind, what) {
                Err(error)
                    if error.is_transient() && failures + 1 < self.patience.attempts && !self.cancelled() =>
                {
                    failures += 1;
                    progress.event(Event::Retry { layer: None, cause: &chain(&error) });
                    self.patience.wait(failures, || self.cancelled());
                }
                done => return done,
            }
        }
    }

    pub(super) fn cancelled(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }

    fn try_document(&self, kind: &str, what: &str) -> Result<Vec<u8>, RegistryError> {
        self.read_document(what, self.get(kind, what, 0)?)
    }

    /// Reads a response whole, if it is no larger than a document may be.
    pub(super) fn read_document(
        &self,
        what: &str,
        response: Response<Body>,
    ) -> Result<Vec<u8>, RegistryError> {
        let body = response.into_body();
        let mut bytes = Vec::new();
        let read = body.into_reader().take(MAX_DOCUMENT + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.transport(ureq::Error::from(error)))?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            Err(RegistryError::TooLarge(what.to_owned()))
        } else {
            Ok(bytes)
        }
    }

    /// Asks for a manifest or blob from a byte on, logging in where the registry wants it.
    pub(super) fn get(&self, kind: &str, what: &str, from: u64) -> Result<Response<Body>, RegistryError> {
        let url = self.url(kind, what);
        for attempt in 0..2 {
            let (response, own) = self.follow(Method::GET, &url, kind == "manifests", from)?;
            match response.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(response),
                StatusCode::UNAUTHORIZED if own && attempt == 0 => self.log_in(&response)?,
                _ => return Err(self.refusal(kind, what, response)),
            }
        }
        Err(RegistryError::Challenge(self.host().to_owned()))
    }

    /// One request and its redirects: the last response, and whether it is the registry's own. The login goes to the
    /// registry itself and to nobody it points to, not even another port of its host: that may be somebody else's.
    fn follow(
        &self,
        method: Method,
        url: &str,
        manifest: bool,
        from: u64,
    ) -> Result<(Response<Body>, bool), RegistryError> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let agent = self.agent(&url);
            let mut request = if method == Method::HEAD { agent.head(&url) } else { agent.get(&url) };
            if manifest {
                request = request.header(header::ACCEPT, ACCEPT);
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let own = self.is_own(&url);
            if let Some(login) = self.authorization(&url) {
                request = request.header(header::AUTHORIZATION, login);
            }
            let request = request.config().max_redirects(0).max_redirects_will_error(false).build();
            let response = request.call().map_err(|error| self.transport(error))?;
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let Some(location) = location.filter(|_| response.status().is_redirection()) else {
                return Ok((response, own));
            };
            let next = self.resolve(&url, location)?;
            // A blob has its digest; of a tag's manifest only TLS says that it is the right one.
            if manifest && url.starts_with("https:") && !next.starts_with("https:") {
                return Err(RegistryError::Unprotected(self.host().to_owned()));
            }
            url = next;
        }
        Err(self.transport(ureq::Error::TooManyRedirects))
    }

    /// Whether a blob is in the repository.
    pub(super) fn has_blob(&self, digest: Digest) -> Result<bool, RegistryError> {
        let url = self.url("blobs", &digest.to_string());
        for attempt in 0..2 {
            let (response, own) = self.follow(Method::HEAD, &url, false, 0)?;
            match response.status() {
                StatusCode::OK => return Ok(true),
                StatusCode::NOT_FOUND => return Ok(false),
                StatusCode::UNAUTHORIZED if own && attempt == 0 => self.log_in(&response)?,
                _ => return Err(self.refusal("blobs", &digest.to_string(), response)),
            }
        }
        Err(RegistryError::Challenge(self.host().to_owned()))
    }

    /// One request with a body to an address of the registry, or one it named; no redirect is followed. A login that is
    /// wanted is obtained, and then the answer is [`RegistryError::Again`].
    pub(super) fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, String)],
        length: u64,
        body: &mut dyn Read,
    ) -> Result<Response<Body>, RegistryError> {
        let mut request = Request::builder().method(method).uri(url).header(header::CONTENT_LENGTH, length);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let login = self.authorization(url);
        let had_login = login.is_some();
        if let Some(login) = login {
            request = request.header(header::AUTHORIZATION, login);
        }
        let request =
            request.body(SendBody::from_reader(body)).map_err(|error| self.transport(error.into()))?;
        let agent = self.agent(url);
        let request =
            agent.configure_request(request).max_redirects(0).max_redirects_will_error(false).build();
        let response = agent.run(request).map_err(|error| self.transport(error))?;
        if response.status() == StatusCode::UNAUTHORIZED && self.is_own(url) {
            // A token may have run out within a long transfer; one that was just made does not help again.
            let before = if had_login { self.authorization(url) } else { None };
            self.log_in(&response)?;
            if self.authorization(url) != before {
                return Err(RegistryError::Again(self.host().to_owned()));
            }
        }
        Ok(response)
    }

    /// An address of the repository.
    pub(super) fn url(&self, kind: &str, what: &str) -> String {
        format!("{}/v2/{}/{kind}/{what}", self.base, self.name.path())
    }

    /// Where a response sends the next request; never away from TLS.
    pub(super) fn location(&self, url: &str, response: &Response<Body>) -> Result<String, RegistryError> {
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let next = self.resolve(url, location.unwrap_or_default())?;
        if url.starts_with("https:") && !next.starts_with("https:") {
            return Err(RegistryError::Unprotected(self.host().to_owned()));
        }
        Ok(next)
    }

    /// Asks whether the login is good.
    pub(super) fn check_login(&self) -> Result<(), RegistryError> {
        let url = format!("{}/v2/", self.base);
        for attempt in 0..2 {
            let (response, own) = self.follow(Method::GET, &url, false, 0)?;
            match response.status() {
                StatusCode::OK => return Ok(()),
                StatusCode::UNAUTHORIZED if own && attempt == 0 => self.log_in(&response)?,
                _ => return Err(self.refusal("login", "", response)),
            }
        }
        Err(RegistryError::Challenge(self.host().to_owned()))
    }

    fn is_own(&self, url: &str) -> bool {
        url.strip_prefix(&self.base).is_some_and(|path| path.starts_with('/'))
    }

    /// What is sent to an address as login: nothing to others than the registry itself.
    fn authorization(&self, url: &str) -> Option<String> {
        self.authorization.lock().ok().and_then(|value| value.clone()).filter(|_| self.is_own(url))
    }

    /// The address that a redirect means.
    fn resolve(&self, url: &str, location: &str) -> Result<String, RegistryError> {
        if location.starts_with("https://") || location.starts_with("http://") {
            return Ok(location.to_owned());
        }
        let origin = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        if location.starts_with('/') && !location.starts_with("//") {
            return Ok(format!("{origin}{location}"));
        }
        Err(self.transport(ureq::Error::BadUri(location.escape_debug().to_string())))
    }

    /// Obeys the challenge of a response.
    fn log_in(&self, response: &Response<Body>) -> Result<(), RegistryError> {
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        let challenge = Challenge::choose(challenges.iter().filter_map(|value| value.to_str().ok()))
            .ok_or_else(|| RegistryError::Challenge(self.host().to_owned()))?;
        let value = auth::authorization(self, &challenge, self.credentials()?.as_ref())?;
        if let Ok(mut authorization) = self.authorization.lock() {
            *authorization = value;
        }
        Ok(())
    }

    fn credentials(&self) -> Result<Option<Credentials>, RegistryError> {
        Ok(match &self.login {
            Login::Given(given) => given.clone(),
            Login::Stored => credentials::find(self.docker_config.as_deref(), self.name.domain())?,
        })
    }

    pub(super) fn transport(&self, source: ureq::Error) -> RegistryError {
        RegistryError::Transport { host: self.host().to_owned(), source: Box::new(source) }
    }

    /// The error for a response that is none of the good ones.
    pub(super) fn refusal(&self, kind: &str, what: &str, response: Response<Body>) -> RegistryError {
        let (host, status) = (self.host().to_owned(), response.status());
        let message = message(response);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let name = self.name.familiar();
                let action = match self.access {
                    Access::Pull => "pull",
                    Access::Push(_) => "push",
                    Access::Login => "login",
                };
                RegistryError::Denied { action, host, name, status: status.as_u16(), message }
            }
            StatusCode::NOT_FOUND if matches!(kind, "manifests" | "tags") => RegistryError::NotFound(host),
            StatusCode::NOT_FOUND => RegistryError::NoBlob { host, digest: what.to_owned() },
            status => RegistryError::Status { host, status: status.as_u16(), message },
        }
    }

    /// Tells whether the content of a resumed transfer begins at the wanted byte.
    pub(super) fn resumes_at(response: &Response<Body>, from: u64) -> bool {
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        response.status() == StatusCode::PARTIAL_CONTENT
            && range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
    }

    pub(super) fn too_long(digest: Digest, size: u64) -> RegistryError {
        RegistryError::Size { digest, size }
    }
}

fn agent(host: &str, insecure: bool, patience: &Patience) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(AutoHeaderValue::Provided(USER_AGENT.to_owned().into()))
        .redirect_auth_headers(RedirectAuthHeaders::Never)
        .max_redirects(MAX_REDIRECTS)
        .timeout_connect(Some(patience.idle))
        .timeout_per_read(Some(patience.idle))
        .timeout_per_write(Some(patience.idle))
        .timeout_recv_response(Some(patience.idle))
        .tls_config(tls::config(host, insecure));
    if insecure && is_loopback(host) {
        config = config.proxy(None);
    }
    config.build().new_agent()
}

/// The registry's own words, made fit for a terminal.
fn message(response: Response<Body>) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let mut body = Vec::new();
    let read = response.into_body().into_reader().take(MAX_ERROR).read_to_end(&mut body);
    let parsed = read.ok().and_then(|_| serde_json::from_slice::<Errors>(&body).ok());
    let Some(first) = parsed.and_then(|parsed| parsed.errors.into_iter().next()) else {
        return String::new();
    };
    let text = if first.message.is_empty() { first.code } else { first.message };
    let text: String = text.chars().take(200).collect();
    format!(": {}", text.escape_debug())
}

/// An error and its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

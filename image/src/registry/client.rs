//! Requests to one repository of one registry: scheme, login, retries, errors.

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde::Deserialize;
use ureq::config::{AutoHeaderValue, RedirectAuthHeaders};
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

use super::auth::{self, Challenge};
use super::{Patience, RegistryError, credentials, tls};
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

/// A repository that can be asked.
pub(super) struct Client<'a> {
    agent: Agent,
    /// For other machines than the registry's, where that is this one: trusts nobody without a certificate.
    outside: OnceLock<Agent>,
    base: String,
    name: Reference,
    authorization: Mutex<Option<String>>,
    docker_config: Option<PathBuf>,
    cancel: Option<&'a AtomicBool>,
    pub(super) patience: Patience,
}

impl<'a> Client<'a> {
    /// Finds out how to speak to the reference's registry: TLS, or plain HTTP to this machine where TLS fails.
    pub(super) fn connect(name: &Reference, options: &ResolveOptions<'a>) -> Result<Self, RegistryError> {
        let host = name.api_host();
        let loopback = name.is_loopback();
        let client = Self {
            agent: agent(host, loopback, &options.patience),
            outside: OnceLock::new(),
            base: format!("https://{host}"),
            name: name.clone(),
            authorization: Mutex::new(None),
            docker_config: options.docker_config.clone(),
            cancel: options.cancel,
            patience: options.patience.clone(),
        };
        let probe = || {
            let request = client.agent.get(format!("{}/v2/", client.base));
            // A server without TLS may wait for the rest of what it takes for a request.
            request.config().timeout_global(Some(PROBE.min(options.patience.idle))).build().call()
        };
        if !loopback || probe().is_ok() {
            return Ok(client);
        }
        Ok(Self { base: format!("http://{host}"), ..client })
    }

    pub(super) fn host(&self) -> &str {
        self.name.api_host()
    }

    /// The agent for an address that the registry named. What goes for a registry on this machine, no check of
    /// certificates and no proxy, goes for this machine alone.
    pub(super) fn agent(&self, url: &str) -> &Agent {
        if self.name.is_loopback() && !is_here(url) {
            self.outside.get_or_init(|| agent(self.host(), false, &self.patience))
        } else {
            &self.agent
        }
    }

    /// Whether a login may be sent to an address: over TLS, or inside this machine where the registry has no TLS
    /// either.
    pub(super) fn may_tell(&self, url: &str) -> bool {
        let uri = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
        match uri.as_ref().and_then(Uri::scheme_str) {
            Some("https") => true,
            Some("http") => self.base.starts_with("http:") && is_here(url),
            _ => false,
        }
    }

    /// What the login server is asked for: reading this repository and nothing else.
    pub(super) fn scope(&self) -> String {
        format!("repository:{}:pull", self.name.path())
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

    fn cancelled(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }

    fn try_document(&self, kind: &str, what: &str) -> Result<Vec<u8>, RegistryError> {
        let body = self.get(kind, what, 0)?.into_body();
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
        let url = format!("{}/v2/{}/{kind}/{what}", self.base, self.name.path());
        for attempt in 0..2 {
            let (response, own) = self.follow(&url, kind == "manifests", from)?;
            match response.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(response),
                StatusCode::UNAUTHORIZED if own && attempt == 0 => self.login(&response)?,
                _ => return Err(self.refusal(kind, what, response)),
            }
        }
        Err(RegistryError::Challenge(self.host().to_owned()))
    }

    /// One request and its redirects: the last response, and whether it is the registry's own. The login goes to the
    /// registry itself and to nobody it points to, not even another port of its host: that may be somebody else's.
    fn follow(&self, url: &str, manifest: bool, from: u64) -> Result<(Response<Body>, bool), RegistryError> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent(&url).get(&url);
            if manifest {
                request = request.header(header::ACCEPT, ACCEPT);
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let own = url.strip_prefix(&self.base).is_some_and(|path| path.starts_with('/'));
            let login = self.authorization.lock().ok().and_then(|value| value.clone());
            if let Some(login) = login.filter(|_| own) {
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
    fn login(&self, response: &Response<Body>) -> Result<(), RegistryError> {
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        let challenge = Challenge::choose(challenges.iter().filter_map(|value| value.to_str().ok()))
            .ok_or_else(|| RegistryError::Challenge(self.host().to_owned()))?;
        let stored = credentials::find(self.docker_config.as_deref(), self.name.domain())?;
        let value = auth::authorization(self, &challenge, stored.as_ref())?;
        if let Ok(mut authorization) = self.authorization.lock() {
            *authorization = value;
        }
        Ok(())
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
                RegistryError::Denied { host, name, status: status.as_u16(), message }
            }
            StatusCode::NOT_FOUND if kind == "manifests" => RegistryError::NotFound(host),
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

/// Whether an address is on this machine.
fn is_here(url: &str) -> bool {
    // Not by the text: `http://localhost:80@elsewhere/` is elsewhere.
    url.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(is_loopback))
}

fn agent(host: &str, loopback: bool, patience: &Patience) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(AutoHeaderValue::Provided(USER_AGENT.to_owned().into()))
        .redirect_auth_headers(RedirectAuthHeaders::Never)
        .max_redirects(MAX_REDIRECTS)
        .timeout_connect(Some(patience.idle))
        .timeout_per_read(Some(patience.idle))
        .timeout_per_write(Some(patience.idle))
        .timeout_recv_response(Some(patience.idle))
        .tls_config(tls::config(host, loopback));
    if loopback {
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

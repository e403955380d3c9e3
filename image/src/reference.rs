//! Image references as Docker writes, completes and shortens them: `redis` is `docker.io/library/redis:latest`.
//!
//! Grammar and wording of the errors follow the distribution project's reference package.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::digest::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A complete reference: every part stands as Docker would complete it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no [`Reference`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The text has another form.
    #[error("invalid reference format")]
    Format,
    /// The repository has upper-case letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Case(String),
    /// The name looks like an image's id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Hex(String),
    /// The name is over 255 characters long.
    #[error("repository name must not be more than {MAX_NAME} characters")]
    TooLong,
}

impl Reference {
    /// The registry's host and port as people write it, as in `docker.io` or `localhost:5000`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository inside the registry, as in `library/redis`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; `None` where the reference has a digest alone.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, where the reference has one.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same repository with a digest in place of tag and digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository with a tag in place of tag and digest; `None` where the text is no tag.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Option<Self> {
        is_tag(tag).then(|| Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The repository in its shortest form, as in `redis`.
    #[must_use]
    pub fn repository(&self) -> String {
        Self { tag: None, digest: None, ..self.clone() }.familiar()
    }

    /// What a registry is asked for: the digest, else the tag.
    #[must_use]
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The host and port of the registry's API.
    #[must_use]
    pub fn api_host(&self) -> &str {
        if self.domain == DEFAULT_DOMAIN { "registry-1.docker.io" } else { &self.domain }
    }

    /// Whether the registry is this machine, where Docker speaks plain HTTP if it must.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.domain)
    }

    /// The shortest text that means the same, with the tag: `redis:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        let name = if self.domain == DEFAULT_DOMAIN {
            self.path
                .strip_prefix("library/")
                .filter(|rest| !rest.contains('/'))
                .unwrap_or(&self.path)
                .to_owned()
        } else {
            format!("{}/{}", self.domain, self.path)
        };
        self.with_suffix(name)
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name = format!("{name}:{tag}");
        }
        if let Some(digest) = &self.digest {
            name = format!("{name}@{digest}");
        }
        name
    }
}

/// Whether a host with an optional port is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(host, _)| host),
    };
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if is_hex_id(text) {
            return Err(ReferenceError::Hex(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| ReferenceError::Format)?)),
            None => (text, None),
        };
        // A colon is the tag's only behind the last slash: before it, it is a port's.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (domain, path) = split_domain(name);
        if path.chars().any(|letter| letter.is_ascii_uppercase()) {
            return Err(ReferenceError::Case(path));
        }
        let valid_tag = tag.is_none_or(is_tag);
        if !is_domain(&domain) || !path.split('/').all(is_path_component) || !valid_tag {
            return Err(ReferenceError::Format);
        }
        if domain.len() + 1 + path.len() > MAX_NAME {
            return Err(ReferenceError::TooLong);
        }
        let default_tag = digest.is_none().then_some(DEFAULT_TAG);
        Ok(Self { domain, path, tag: tag.or(default_tag).map(str::to_owned), digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(format!("{}/{}", self.domain, self.path)))
    }
}

fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(|letter| letter.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    (domain.to_owned(), if official { format!("library/{path}") } else { path.to_owned() })
}

fn is_hex_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
                return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            }
            _ => return false,
        },
        None => domain.split_once(':').map_or((domain, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

// Runs of lower-case letters and digits, kept apart by `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let separators = component.as_bytes().split(alphanumeric).filter(|run| !run.is_empty());
    let mut separators =
        separators.map(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-'));
    let ends = component.as_bytes().first().zip(component.as_bytes().last());
    ends.is_some_and(|(first, last)| alphanumeric(first) && alphanumeric(last)) && separators.all(|fine| fine)
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= MAX_TAG
        && bytes.next().is_some_and(word)
        && bytes.all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests;

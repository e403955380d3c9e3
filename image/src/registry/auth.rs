//! Login: the registry's challenge (RFC 9110, "WWW-Authenticate"), Basic, and tokens as Docker's token
//! authentication specification has them.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::{StatusCode, header};

use super::RegistryError;
use super::client::Client;
use super::credentials::Credentials;

/// The longest answer of a login server in bytes.
const MAX_TOKEN: u64 = 1 << 20;

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// The best of the challenges: a token where it is offered.
    pub(super) fn choose<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let challenges: Vec<_> = values.filter_map(Self::parse).collect();
        let bearer = challenges.iter().position(|challenge| *challenge != Self::Basic);
        challenges.into_iter().nth(bearer.unwrap_or(0))
    }

    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        let parameter = |name: &str| {
            let (_, value) = parameters(rest).into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            Some(value)
        };
        let realm = parameter("realm").filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
        Some(Self::Bearer { realm, service: parameter("service") })
    }
}

/// The `key="value"` pairs of a challenge.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_owned();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        pairs.push((key, value));
        rest = next;
    }
    pairs
}

/// A quoted text up to its closing quote, and what follows.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

/// The `Authorization` header that obeys a challenge; `None` where nothing is known to send.
pub(super) fn authorization(
    client: &Client<'_>,
    challenge: &Challenge,
    stored: Option<&Credentials>,
) -> Result<Option<String>, RegistryError> {
    match (challenge, stored) {
        (Challenge::Basic, Some(Credentials::Password { user, secret })) => Ok(Some(basic(user, secret))),
        (_, Some(Credentials::Bearer(token))) => Ok(Some(format!("Bearer {token}"))),
        (Challenge::Basic, _) => Ok(None),
        (Challenge::Bearer { realm, service }, stored) => {
            token(client, realm, service.as_deref(), stored).map(|token| Some(format!("Bearer {token}")))
        }
    }
}

fn basic(user: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")))
}

fn token(
    client: &Client<'_>,
    realm: &str,
    service: Option<&str>,
    stored: Option<&Credentials>,
) -> Result<String, RegistryError> {
    let host = realm.split('/').nth(2).unwrap_or(realm).escape_debug().to_string();
    if !client.may_tell(realm) {
        return Err(RegistryError::Unprotected(host));
    }
    let agent = client.agent(realm);
    let service = service.map(|service| format!("service={}", encode(service)));
    let scopes = client.scopes();
    let scopes = scopes.iter().map(|scope| format!("scope={}", encode(scope)));
    let query = service.into_iter().chain(scopes).collect::<Vec<_>>().join("&");
    let separator = if realm.contains('?') { '&' } else { '?' };
    let url = if query.is_empty() { realm.to_owned() } else { format!("{realm}{separator}{query}") };
    let sent = match stored {
        Some(Credentials::Token(refresh)) => {
            let form = format!(
                "grant_type=refresh_token&client_id=cradle&{query}&refresh_token={}",
                encode(refresh)
            );
            let request = agent.post(realm);
            request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").send(form)
        }
        Some(Credentials::Password { user, secret }) => {
            agent.get(&url).header(header::AUTHORIZATION, basic(user, secret)).call()
        }
        Some(Credentials::Bearer(_)) | None => agent.get(&url).call(),
    };
    let response = sent.map_err(|error| client.transport(error))?;
    if response.status() != StatusCode::OK {
        return Err(client.refusal("token", "", response));
    }
    let mut bytes = Vec::new();
    let read = response.into_body().into_reader().take(MAX_TOKEN).read_to_end(&mut bytes);
    read.map_err(|error| client.transport(error.into()))?;
    parse_token(&bytes).ok_or(RegistryError::Token(host))
}

fn parse_token(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(bytes).ok()?;
    let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token)?;
    // It goes into a header as it is.
    (!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())).then_some(token)
}

/// Percent-encodes a query's value (RFC 3986).
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::super::client::Access;
    use super::super::hosts::Endpoint;
    use super::*;

    #[test]
    fn challenges_are_read() {
        let value = r#"Bearer realm="https://auth.example/token?a=b,c",service="re\"g", scope="x""#;
        let bearer = Challenge::Bearer {
            realm: "https://auth.example/token?a=b,c".into(),
            service: Some("re\"g".into()),
        };
        assert_eq!(Challenge::choose(["Basic realm=\"x\"", value].into_iter()), Some(bearer));
        assert_eq!(Challenge::choose(["basic"].into_iter()), Some(Challenge::Basic));
        let bare = Challenge::Bearer { realm: "https://x".into(), service: None };
        assert_eq!(Challenge::choose(["bearer realm=https://x , a=b"].into_iter()), Some(bare));
        for value in ["", "Bearer", "Bearer service=\"x\"", "Digest realm=\"x\"", "Bearer =,=\"\\"] {
            assert_eq!(Challenge::choose([value].into_iter()), None, "{value}");
        }
    }

    #[test]
    fn tokens_fit_a_header_or_are_refused() {
        assert_eq!(parse_token(br#"{"access_token":"abc"}"#), Some("abc".into()));
        assert_eq!(parse_token(br#"{"token":"","access_token":"abc"}"#), Some("abc".into()));
        for answer in [r#"{"token":"a\r\nX: y"}"#, r#"{"token":""}"#, "{}", "x"] {
            assert_eq!(parse_token(answer.as_bytes()), None, "{answer}");
        }
    }

    #[test]
    fn credentials_need_tls_where_the_registry_has_it() {
        let name = "registry.example/a".parse().unwrap();
        let options = crate::ResolveOptions::default();
        let endpoint = Endpoint::origin(&name, &options.registries);
        let client = Client::connect(&name, endpoint, Access::Pull, &options).unwrap();
        for realm in ["http://registry.example/token", "http://127.0.0.1/token", "file:///etc/passwd", ""] {
            let challenge = Challenge::Bearer { realm: realm.into(), service: None };
            let refused = authorization(&client, &challenge, None);
            assert!(matches!(refused, Err(RegistryError::Unprotected(_))), "{realm}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encode("repository:a/b:pull é"), "repository%3Aa%2Fb%3Apull%20%C3%A9");
    }
}

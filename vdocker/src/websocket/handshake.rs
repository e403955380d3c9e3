//! The opening handshake (RFC 6455, section 4.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use sha1::{Digest, Sha1};

/// What every server appends to a client's key (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a client's nonce.
const NONCE: usize = 16;

/// Why a request opens no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// It asks for no upgrade to a WebSocket.
    #[error("not a websocket handshake: no upgrade to websocket")]
    NoUpgrade,
    /// It speaks another version than 13.
    #[error("not a websocket handshake: the version is not 13")]
    Version,
    /// Its key is not 16 bytes in base64.
    #[error("not a websocket handshake: the key is not 16 bytes in base64")]
    Key,
}

/// A handshake that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    key: String,
    /// The only protocol that the client offers.
    protocol: Option<String>,
}

impl Accepted {
    /// What the head of the answer says, whose status is 101.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, &str)> {
        let mut headers =
            vec![("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", &self.key)];
        headers.extend(self.protocol.as_deref().map(|protocol| ("Sec-WebSocket-Protocol", protocol)));
        headers
    }
}

/// Accepts a request for a WebSocket.
///
/// # Errors
/// [`HandshakeError`].
pub fn accept(headers: &HeaderMap) -> Result<Accepted, HandshakeError> {
    let has = |name: HeaderName, wanted: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(wanted)))
    };
    if !has(UPGRADE, "websocket") || !has(CONNECTION, "upgrade") {
        return Err(HandshakeError::NoUpgrade);
    }
    if !has(SEC_WEBSOCKET_VERSION, "13") {
        return Err(HandshakeError::Version);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(|key| key.as_bytes().trim_ascii()).unwrap_or_default();
    if !STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == NONCE) {
        return Err(HandshakeError::Key);
    }
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let protocol = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let protocol = protocol.filter(|protocol| !protocol.contains(',')).map(str::to_owned);
    Ok(Accepted { key: STANDARD.encode(digest), protocol })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(changed: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let usual = [
            (UPGRADE, "websocket"),
            (CONNECTION, "keep-alive, Upgrade"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in usual.iter().chain(changed) {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn answers_the_key_of_the_specification() {
        assert_eq!(accept(&headers(&[])).unwrap().key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn refuses_what_is_no_handshake() {
        let with = |name, value| accept(&headers(&[(name, value)])).unwrap_err();
        assert_eq!(with(UPGRADE, "tcp"), HandshakeError::NoUpgrade);
        assert_eq!(with(CONNECTION, "close"), HandshakeError::NoUpgrade);
        assert_eq!(with(SEC_WEBSOCKET_VERSION, "8"), HandshakeError::Version);
        for key in ["", "AAAA", "not base64!", "dGhlIHNhbXBsZSBub25jZTE="] {
            assert_eq!(with(SEC_WEBSOCKET_KEY, key), HandshakeError::Key, "{key}");
        }
    }
}

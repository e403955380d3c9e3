//! Questions to registries: `POST /auth` and `GET /distribution/{name}/json`.

use std::sync::atomic::AtomicBool;

use hyper::StatusCode;
use image::{Credentials, Login, Reference, RegistryError, check_login, remote_image};
use serde_json::json;
use vdocker::EngineError;
use vdocker::response::{self, Response};

use super::{Settings, blocking, pull};
use crate::context::Context;
use crate::failure::chain;

/// Bytes of a login.
const MAX_LOGIN: usize = 64 << 10;

/// `POST /auth`.
pub(super) async fn auth(mut context: Context) -> Result<Response, EngineError> {
    let body = context.body.collect(MAX_LOGIN).await?;
    let bad = |error: String| EngineError::BadRequest(format!("invalid JSON: {error}"));
    let fields: serde_json::Value = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    let server = fields.get("serveraddress").and_then(|value| value.as_str()).unwrap_or_default();
    let name = registry(server)
        .ok_or_else(|| EngineError::BadRequest(format!("unable to parse the server address {server:?}")))?;
    let login = Credentials::from_json(&body).map_err(|error| bad(error.to_string()))?;
    if login.is_none() {
        return Err(EngineError::BadRequest(
            "a login needs a user name and a password, or a token".to_owned(),
        ));
    }
    let settings = Settings { login: Login::Given(login), ..Settings::of(&context) };
    let host = name.api_host().to_owned();
    let checked = blocking(move || {
        let cancel = AtomicBool::new(false);
        Ok(check_login(&name, &settings.options(&cancel)))
    });
    match checked.await? {
        Ok(()) => response::json(StatusCode::OK, &json!({"IdentityToken": "", "Status": "Login Succeeded"})),
        Err(RegistryError::Denied { message, .. }) => {
            let message = message.trim_start_matches([':', ' ']);
            let message = if message.is_empty() { "incorrect username or password" } else { message };
            let text = format!("Get \"https://{host}/v2/\": unauthorized: {message}");
            response::json(StatusCode::UNAUTHORIZED, &json!({ "message": text }))
        }
        Err(error) => Err(EngineError::Failed(chain(&error))),
    }
}

/// A name in the registry that a client means by an address or URL.
fn registry(server: &str) -> Option<Reference> {
    let host = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://")).unwrap_or(server);
    let host = host.split('/').next().unwrap_or_default();
    let host =
        if matches!(host, "" | "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    let name: Reference = format!("{host}/library/login").parse().ok()?;
    (name.domain() == host).then_some(name)
}

/// `GET /distribution/{name}/json`.
pub(super) async fn distribution(context: Context) -> Result<Response, EngineError> {
    let bad = |error: image::ReferenceError| EngineError::BadRequest(error.to_string());
    let name: Reference = context.name.parse().map_err(bad)?;
    let settings = Settings::of(&context);
    let remote = blocking(move || {
        let cancel = AtomicBool::new(false);
        remote_image(&name, &settings.options(&cancel)).map_err(|error| pull::refused(&name, &error))
    })
    .await?;
    let platforms: Vec<_> = remote
        .platforms
        .iter()
        .map(|platform| {
            let mut shown = json!({"architecture": platform.architecture, "os": platform.os});
            if !platform.variant.is_empty() {
                shown["variant"] = json!(platform.variant);
            }
            shown
        })
        .collect();
    let descriptor = json!({"mediaType": remote.media_type, "digest": remote.digest, "size": remote.size});
    response::json(StatusCode::OK, &json!({"Descriptor": descriptor, "Platforms": platforms}))
}

#[cfg(test)]
mod tests {
    use super::registry;

    #[test]
    fn servers_are_hosts_or_urls() {
        for (server, domain) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("", "docker.io"),
            ("localhost:5000", "localhost:5000"),
            ("http://ghcr.io/", "ghcr.io"),
        ] {
            assert_eq!(registry(server).unwrap().domain(), domain, "{server}");
        }
        for server in ["a b", "../x", "user@host.de", "plain"] {
            assert!(registry(server).is_none(), "{server}");
        }
    }
}

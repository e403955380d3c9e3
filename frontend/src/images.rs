//! `/images` and what belongs to them: the store's images under Docker's routes, words and status codes.

mod archive;
mod commit;
mod delete;
mod glob;
mod inspect;
mod job;
pub(crate) mod list;
mod make;
mod manifests;
mod pull;
mod push;
mod refused;
mod registry;
mod stream;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use hyper::Method;
use image::config::RunConfig;
use image::{CatalogError, Credentials, Login, Registries, ResolveOptions, StoredImage};
use vdocker::EngineError;

use crate::context::Context;
use crate::events::Event;
use crate::failure::failed;
use crate::routes::{Route, route};

/// All routes.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = vec![
        route(Method::GET, "images/json", list::list),
        route(Method::POST, "images/create", pull::create),
        route(Method::POST, "images/load", archive::load),
        route(Method::POST, "images/prune", delete::prune),
        route(Method::GET, "images/get", archive::save_names),
        route(Method::GET, "images/{name}/get", archive::save_one),
        route(Method::GET, "images/{name}/json", inspect::inspect),
        route(Method::GET, "images/{name}/history", inspect::history),
        route(Method::POST, "images/{name}/push", push::push),
        route(Method::POST, "images/{name}/tag", inspect::tag),
        route(Method::DELETE, "images/{name}", delete::delete),
        route(Method::POST, "commit", commit::commit),
        route(Method::POST, "auth", registry::auth),
        route(Method::GET, "distribution/{name}/json", registry::distribution),
    ];
    routes.extend(refused::routes());
    routes
}

/// What of a daemon's settings work on images needs, and what ends it.
#[derive(Clone)]
struct Settings {
    registries: Registries,
    login: Login,
}

impl Settings {
    /// The daemon's, with the login that the client sends. One that cannot be read counts as none, as Docker has it: there
    /// are clients that always send something.
    fn of(context: &Context) -> Self {
        let header = context.headers.get("x-registry-auth").and_then(|value| value.to_str().ok());
        let login = header.and_then(|header| Credentials::from_header(header).ok().flatten());
        Self { registries: context.daemon.config.registries.clone(), login: Login::Given(login) }
    }

    /// How images are resolved for clients of the API: all that is needed to give them away again is kept.
    fn options<'a>(&self, cancel: &'a AtomicBool) -> ResolveOptions<'a> {
        ResolveOptions {
            keep_blobs: true,
            login: self.login.clone(),
            registries: self.registries.clone(),
            cancel: Some(cancel),
            ..ResolveOptions::default()
        }
    }
}

/// Docker's status for what the catalogue says.
fn refusal(error: CatalogError) -> EngineError {
    match error {
        CatalogError::NoImage(_) => EngineError::NotFound(error.to_string()),
        CatalogError::Conflict(_) => EngineError::Conflict(error.to_string()),
        CatalogError::Reference(_) | CatalogError::Name(_) => EngineError::BadRequest(error.to_string()),
        error => failed(&error),
    }
}

/// Does some work on the store on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(EngineError::Failed(format!("the work was broken off: {error}"))))
}

/// An event of an image, with its labels and what it is called.
fn event(action: &str, id: &str, name: &str, config: Option<&RunConfig>) -> Event {
    let labels = config.into_iter().flat_map(|config| &config.labels);
    let mut attributes: BTreeMap<_, _> = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
    attributes.insert("name".to_owned(), name.to_owned());
    Event::now("image", action, id, attributes)
}

/// The image's names with a tag, in their shortest form.
fn tags(image: &StoredImage) -> Vec<String> {
    image.tags.iter().map(image::Reference::familiar).collect()
}

/// The image's names by digest, in their shortest form.
fn digests(image: &StoredImage) -> Vec<String> {
    image.digests.iter().map(image::Reference::familiar).collect()
}

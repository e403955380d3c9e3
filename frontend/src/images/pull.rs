//! `POST /images/create`: a pull, or an import of a root file system.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use image::{
    Digest, Event as Step, Progress, PullPolicy, Reference, RegistryError, ResolveError, Source, Store,
    remote_tags,
};
use vdocker::EngineError;
use vdocker::response::Response;

use super::job::{self, Finished, Kind, Output};
use super::{Settings, event, make, stream};
use crate::context::Context;
use crate::failure::chain;

/// Bytes between two lines of progress of one layer.
const STEP: u64 = 512 << 10;

/// The only platform that pods have, in the forms that clients write it.
const PLATFORMS: [&str; 6] =
    ["linux/amd64", "linux/x86_64", "linux/x86-64", "amd64", "linux", "linux/amd64/v1"];

/// `POST /images/create`.
pub(super) async fn create(context: Context) -> Result<Response, EngineError> {
    let source = context.query.text("fromSrc").unwrap_or_default().to_owned();
    match context.query.text("fromImage").map(str::to_owned) {
        Some(image) => pull(context, &image).await,
        None => make::import(context, &source).await,
    }
}

async fn pull(mut context: Context, image: &str) -> Result<Response, EngineError> {
    let tag = context.query.text("tag").unwrap_or_default().to_owned();
    let wanted = wanted(image, &tag)?;
    let platform = context.query.text("platform").unwrap_or_default().to_ascii_lowercase();
    let settings = Settings::of(&context);
    let store = context.daemon.images.clone();
    context.follow().await?;
    job::answer(&context.daemon, Kind::Lines, move |output, cancel| {
        let mut options = settings.options(cancel);
        options.pull = PullPolicy::Always;
        if !platform.is_empty() && !PLATFORMS.contains(&platform.as_str()) {
            return Err(EngineError::NotFound(no_platform(&platform)));
        }
        let names = match &wanted {
            Wanted::One(name) => vec![name.clone()],
            Wanted::All(name) => {
                let tags = remote_tags(name, &options).map_err(|error| refused(name, &error))?;
                tags.iter().filter_map(|tag| name.with_tag(tag)).collect()
            }
        };
        let mut finished = Finished::default();
        for name in &names {
            let before = store.image(&name.to_string()).ok().map(|image| image.id);
            let lines = Lines::new(output, name);
            let source = Source::Registry(name.clone());
            let resolved = image::resolve(&store, &source, &options, &lines);
            let resolved = resolved.map_err(|error| not_pulled(name, error))?;
            let digest = digest(&store, &resolved.image.id(), name);
            let news = before != Some(resolved.image.id());
            let (id, config) = (name.familiar(), &resolved.image.config().config);
            let event = event("pull", &id, &name.repository(), Some(config));
            let said = if news { "Downloaded newer image" } else { "Image is up to date" };
            let last = [
                digest.map(|digest| stream::status(&format!("Digest: {digest}"))),
                Some(stream::status(&format!("Status: {said} for {id}"))),
            ];
            finished.lines.extend(last.into_iter().flatten());
            finished.events.push(event);
        }
        Ok(finished)
    })
    .await
}

/// What is to be pulled.
enum Wanted {
    One(Reference),
    /// All tags of the repository.
    All(Reference),
}

fn wanted(image: &str, tag: &str) -> Result<Wanted, EngineError> {
    let bad = |error: image::ReferenceError| EngineError::BadRequest(error.to_string());
    // Clients that mean all tags may leave the colon there.
    let image = image.strip_suffix(':').unwrap_or(image);
    let name: Reference = image.parse().map_err(bad)?;
    if !tag.is_empty() {
        let wanted = match tag.parse::<Digest>() {
            Ok(digest) => Some(name.with_digest(digest)),
            Err(_) => name.with_tag(tag),
        };
        return wanted.map(Wanted::One).ok_or_else(|| bad(image::ReferenceError::Format));
    }
    let has_tag = image.contains('@') || image.rsplit('/').next().unwrap_or(image).contains(':');
    Ok(match name.digest() {
        Some(digest) => Wanted::One(name.with_digest(digest)),
        None if has_tag => Wanted::One(name),
        None => Wanted::All(name),
    })
}

/// The digest under which the registry has the image.
fn digest(store: &Store, id: &Digest, name: &Reference) -> Option<Digest> {
    let image = store.image(&id.to_string()).ok()?;
    name.digest().or(image.index).or(image.manifest)
}

fn no_platform(platform: &str) -> String {
    format!(
        "no matching manifest for {platform} in the manifest list entries: no match for platform in manifest: not found"
    )
}

/// Why there is no image, in the words that clients look for.
fn not_pulled(name: &Reference, error: ResolveError) -> EngineError {
    match error {
        ResolveError::Registry { source, .. } => refused(name, &source),
        ResolveError::Platform(platform) => EngineError::NotFound(format!(
            "image with reference {} was found but does not provide the specified platform (linux/amd64): it is for {platform}",
            name.familiar()
        )),
        ResolveError::Cancelled => EngineError::Failed("context canceled".to_owned()),
        error => EngineError::Failed(chain(&error)),
    }
}

/// Docker's words for what a registry says.
pub(super) fn refused(name: &Reference, error: &RegistryError) -> EngineError {
    match error {
        RegistryError::NotFound(_) => EngineError::NotFound(format!(
            "manifest for {} not found: manifest unknown: manifest unknown",
            name.familiar()
        )),
        RegistryError::Denied { message, .. } => {
            let message = message.trim_start_matches([':', ' ']);
            let message =
                if message.is_empty() { "requested access to the resource is denied" } else { message };
            EngineError::NotFound(format!(
                "pull access denied for {}, repository does not exist or may require 'docker login': denied: {message}",
                name.repository()
            ))
        }
        RegistryError::Manifest(image::ManifestError::Platform(_)) => {
            EngineError::NotFound(no_platform("linux/amd64"))
        }
        error => EngineError::Failed(chain(error)),
    }
}

/// Draws a pull or a load.
pub(super) struct Lines<'a> {
    output: &'a Output,
    /// The line with which it begins.
    first: Option<serde_json::Value>,
    /// What is known of each layer.
    layers: Mutex<HashMap<Digest, Layer>>,
    /// Whether layers are read from an archive.
    load: bool,
}

#[derive(Clone, Copy, Default)]
struct Layer {
    size: Option<u64>,
    told: u64,
}

impl<'a> Lines<'a> {
    fn new(output: &'a Output, name: &Reference) -> Self {
        let text = format!("Pulling from {}", familiar_path(name));
        let first = serde_json::json!({"status": text, "id": name.wanted()});
        Self { output, first: Some(first), layers: Mutex::default(), load: false }
    }

    /// For layers of an archive.
    pub(super) fn load(output: &'a Output) -> Self {
        Self { output, first: None, layers: Mutex::default(), load: true }
    }

    fn bytes(&self, layer: Digest, done: u64) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = layers.entry(layer).or_default();
        if done < known.told + STEP && Some(done) != known.size {
            return;
        }
        known.told = done;
        let text = if self.load { "Loading layer" } else { "Downloading" };
        self.output.passing(&stream::progress(&layer.short(), text, done, known.size));
    }

    fn size(&self, layer: Digest, size: Option<u64>) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.insert(layer, Layer { size, told: 0 });
    }
}

/// The repository without its registry, as Docker writes it here.
fn familiar_path(name: &Reference) -> String {
    name.path().to_owned()
}

impl Progress for Lines<'_> {
    fn event(&self, event: Step<'_>) {
        let part = |layer: Digest, text: &str| self.output.line(&stream::part(&layer.short(), text));
        match event {
            Step::Found { .. } => self.first.iter().for_each(|line| self.output.line(line)),
            Step::Planned { layer, size } => {
                self.size(layer, size);
                if !self.load {
                    part(layer, "Pulling fs layer");
                }
            }
            Step::Layer { layer, size } => self.size(layer, size),
            Step::Cached { layer } if !self.load => part(layer, "Already exists"),
            Step::Waiting { layer } if !self.load => part(layer, "Waiting"),
            Step::Bytes { layer, done } => self.bytes(layer, done),
            Step::Done { layer, .. } => {
                let size = self.layers.lock().unwrap_or_else(PoisonError::into_inner).remove(&layer);
                let size = size.and_then(|layer| layer.size);
                if self.load {
                    let total = size.unwrap_or_default();
                    self.output.line(&stream::progress(&layer.short(), "Loading layer", total, size));
                    return;
                }
                for text in ["Verifying Checksum", "Download complete"] {
                    part(layer, text);
                }
                let total = size.unwrap_or_default();
                self.output.line(&stream::progress(&layer.short(), "Extracting", total, size));
                part(layer, "Pull complete");
            }
            _ => {}
        }
    }
}

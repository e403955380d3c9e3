//! `GET /images/json`.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use image::config::ImageConfig;
use image::{Digest, Reference, Store, StoredImage};
use serde_json::{Value, json};
use vdocker::EngineError;
use vdocker::filters::Filters;
use vdocker::response::{self, Response};
use vdocker::time;

use super::{blocking, digests, glob, manifests, tags};
use crate::context::Context;
use crate::daemon::Daemon;
use crate::failure::failed;

/// `GET /images/json`.
pub(super) async fn list(context: Context) -> Result<Response, EngineError> {
    let known = ["dangling", "label", "before", "since", "reference", "until"];
    let filters = Filters::from_query(&context.query, &known)?;
    let wanted = Wanted {
        dangling: filters.truth("dangling")?,
        until: filters.values("until").map(moment).collect::<Result<Vec<_>, _>>()?.into_iter().min(),
        // Before there were filters there was one.
        old: context.query.text("filter").map(str::to_owned),
        filters,
    };
    let shared = context.query.flag("shared-size");
    let manifests = context.query.flag("manifests") && context.version.at_least(47);
    // Before version 1.44 there was another name for the size.
    let virtual_size = !context.version.at_least(44);
    let daemon = &context.daemon;
    let containers = users(daemon);
    let store = daemon.images.clone();
    let images = blocking(move || {
        let images = store.images().map_err(|error| failed(&error))?;
        let sizes = if shared { shared_sizes(&store, &images)? } else { HashMap::new() };
        let chosen = wanted.choose(&store, &images)?;
        let mut list = Vec::with_capacity(chosen.len());
        for Chosen { image, tags, digests } in chosen {
            let users = containers.get(&image.id.to_string());
            let mut line = summary(image, &tags, &digests);
            line["SharedSize"] =
                json!(sizes.get(&image.id).map_or(-1, |size| i64::try_from(*size).unwrap_or(-1)));
            if shared {
                line["Containers"] = json!(users.map_or(0, Vec::len));
            }
            if virtual_size {
                line["VirtualSize"] = json!(image.size);
            }
            if manifests {
                line["Manifests"] = manifests::of(&store, image, users.map_or(&[], Vec::as_slice))?;
            }
            list.push(line);
        }
        Ok(list)
    })
    .await?;
    response::json(StatusCode::OK, &images)
}

/// The containers of each image, by the image's id.
fn users(daemon: &Daemon) -> HashMap<String, Vec<String>> {
    let mut users: HashMap<String, Vec<String>> = HashMap::new();
    for container in daemon.containers.all() {
        let image = container.record.borrow().image_id.clone();
        users.entry(image).or_default().push(container.id.clone());
    }
    users
}

/// All images as `/system/df` shows them, and the bytes that they take together: what several have counts once.
pub(crate) async fn usage(daemon: &Daemon) -> Result<(Vec<Value>, u64), EngineError> {
    let (store, users) = (daemon.images.clone(), users(daemon));
    blocking(move || {
        let images = store.images().map_err(|error| failed(&error))?;
        let shared = shared_sizes(&store, &images)?;
        let mut layers = HashMap::new();
        let mut list = Vec::with_capacity(images.len());
        for image in &images {
            layers.extend(store.layer_sizes(&image.config).map_err(|error| failed(&error))?);
            let mut line = summary(image, &tags(image), &digests(image));
            line["SharedSize"] = json!(shared.get(&image.id).copied().unwrap_or_default());
            line["Containers"] = json!(users.get(&image.id.to_string()).map_or(0, Vec::len));
            list.push(line);
        }
        Ok((list, layers.into_values().sum()))
    })
    .await
}

fn summary(image: &StoredImage, tags: &[String], digests: &[String]) -> Value {
    json!({
        "Id": image.id,
        "ParentId": "",
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": created(&image.config),
        "Size": image.size,
        "SharedSize": -1,
        "Labels": image.config.config.labels,
        "Containers": -1,
    })
}

/// When an image was made, in seconds since 1970; 0 where that is not known.
pub(super) fn created(config: &ImageConfig) -> i64 {
    time::parse(&config.created).map_or(0, time::unix)
}

/// What is asked for.
struct Wanted {
    filters: Filters,
    dangling: Option<bool>,
    until: Option<SystemTime>,
    old: Option<String>,
}

/// An image that passes, and those of its names that do.
struct Chosen<'a> {
    image: &'a StoredImage,
    tags: Vec<String>,
    digests: Vec<String>,
}

impl Wanted {
    /// The images that pass, each with those of its names that do.
    fn choose<'a>(&self, store: &Store, images: &'a [StoredImage]) -> Result<Vec<Chosen<'a>>, EngineError> {
        let moment_of = |key: &str| -> Result<Option<i64>, EngineError> {
            let Some(name) = self.filters.values(key).next() else { return Ok(None) };
            Ok(Some(created(&store.image(name).map_err(super::refusal)?.config)))
        };
        let (before, since) = (moment_of("before")?, moment_of("since")?);
        let patterns: Vec<_> =
            self.filters.values("reference").chain(self.old.as_deref()).map(str::to_owned).collect();
        let mut chosen = Vec::new();
        for image in images {
            let at = created(&image.config);
            let named = !image.tags.is_empty();
            let passes = self.dangling.is_none_or(|dangling| dangling != named)
                && self.filters.labels("label", &image.config.config.labels)
                && before.is_none_or(|before| at < before)
                && since.is_none_or(|since| at > since)
                && self.until.is_none_or(|until| at <= time::unix(until));
            if !passes {
                continue;
            }
            if patterns.is_empty() {
                chosen.push(Chosen { image, tags: tags(image), digests: digests(image) });
                continue;
            }
            let (tags, digests) = (matching(&image.tags, &patterns)?, matching(&image.digests, &patterns)?);
            if !tags.is_empty() || !digests.is_empty() {
                chosen.push(Chosen { image, tags, digests });
            }
        }
        Ok(chosen)
    }
}

/// The names that one of the patterns matches: whole, or their repository.
fn matching(names: &[Reference], patterns: &[String]) -> Result<Vec<String>, EngineError> {
    let mut found = Vec::new();
    for name in names {
        for pattern in patterns {
            let whole = glob::matches(pattern, &name.familiar());
            let repository = glob::matches(pattern, &name.repository());
            let Some((whole, repository)) = whole.zip(repository) else {
                return Err(EngineError::BadRequest(format!(
                    "invalid filter 'reference={pattern}': syntax error in pattern"
                )));
            };
            if whole || repository {
                found.push(name.familiar());
                break;
            }
        }
    }
    Ok(found)
}

/// A time, or an age as `24h`.
pub(crate) fn moment(text: &str) -> Result<SystemTime, EngineError> {
    let number =
        text.parse::<u64>().ok().map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let age = image::changes::nanoseconds(text)
        .and_then(|nanos| SystemTime::now().checked_sub(Duration::from_nanos(u64::try_from(nanos).ok()?)));
    let day = || time::parse(&format!("{text}T00:00:00Z"));
    number
        .or(age)
        .or_else(|| time::parse(text))
        .or_else(day)
        .ok_or_else(|| EngineError::BadRequest(format!("invalid filter 'until={text}'")))
}

/// Bytes of each image's layers that other images have as well.
fn shared_sizes(store: &Store, images: &[StoredImage]) -> Result<HashMap<Digest, u64>, EngineError> {
    let mut users: BTreeMap<Digest, u32> = BTreeMap::new();
    let mut layers = Vec::with_capacity(images.len());
    for image in images {
        let sizes = store.layer_sizes(&image.config).map_err(|error| failed(&error))?;
        sizes.keys().for_each(|layer| *users.entry(*layer).or_default() += 1);
        layers.push((image.id, sizes));
    }
    let shared = |sizes: HashMap<Digest, u64>| {
        sizes
            .into_iter()
            .filter(|(layer, _)| users.get(layer).is_some_and(|users| *users > 1))
            .map(|(_, size)| size)
            .sum()
    };
    Ok(layers.into_iter().map(|(id, sizes)| (id, shared(sizes))).collect())
}

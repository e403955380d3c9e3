//! `POST /commit`: what a container has written becomes a layer on its image.

use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use image::NewImage;
use pod::PodDir;
use serde_json::{Map, Value, json};
use vdocker::EngineError;
use vdocker::response::{self, Response};
use vdocker::time;

use super::inspect::target;
use super::{Settings, archive, blocking, job, make};
use crate::container::Container;
use crate::container::record::Status;
use crate::context::Context;
use crate::daemon::Daemon;
use crate::failure::{failed, report};
use crate::pods::client::{self, Upload};
use crate::pods::held;

/// Bytes of a configuration.
const MAX_CONFIG: usize = 4 << 20;

/// What an image has of a container's configuration.
const KEYS: [&str; 12] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "OnBuild",
    "Shell",
];

/// `POST /commit`.
pub(super) async fn commit(mut context: Context) -> Result<Response, EngineError> {
    let body = context.body.collect(MAX_CONFIG).await?;
    let daemon = Rc::clone(&context.daemon);
    let container = daemon.containers.find(context.query.text("container").unwrap_or_default())?;
    let name = target(&context)?;
    let record = container.record.borrow().clone();
    let own = match serde_json::to_value(&record.config).map_err(|error| failed(&error))? {
        Value::Object(own) => own,
        _ => Map::new(),
    };
    let mut config = wanted(&body)?.unwrap_or_else(|| own.clone());
    let changes: Vec<_> = context.query.all("changes").map(str::to_owned).collect();
    image::changes::apply(&mut config, &changes)
        .map_err(|error| EngineError::BadRequest(error.to_string()))?;
    merge(&mut config, own);
    let text = |key: &str| context.query.text(key).unwrap_or_default().to_owned();
    let new = NewImage {
        base: Some(record.image_id.parse().map_err(|error: image::DigestError| failed(&error))?),
        config,
        author: text("author"),
        comment: text("comment"),
        created_by: record.config.cmd.unwrap_or_default().join(" "),
        created: time::trimmed(SystemTime::now()),
        name,
    };
    let (settings, pause) = (Settings::of(&context), context.query.flag_or("pause", true));
    // Of its own: a container that was frozen for it is thawed also where the client has gone.
    let making =
        tokio::task::spawn_local(async move { commit_as(&daemon, &container, new, settings, pause).await });
    let id = making
        .await
        .unwrap_or_else(|error| Err(EngineError::Failed(format!("the commit was broken off: {error}"))))?;
    response::json(StatusCode::CREATED, &json!({ "Id": id }))
}

/// The configuration that a client sends; `None` where it sends none.
fn wanted(body: &[u8]) -> Result<Option<Map<String, Value>>, EngineError> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice(body) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::Object(config)) => Ok(Some(config)),
        Ok(_) => Err(EngineError::BadRequest("invalid JSON: not an object".to_owned())),
        Err(error) => Err(EngineError::BadRequest(format!("invalid JSON: {error}"))),
    }
}

/// Adds what the container has and the client does not say, by Docker's rules for images and containers; what is no
/// image's goes.
fn merge(config: &mut Map<String, Value>, mut own: Map<String, Value>) {
    for map in [&mut *config, &mut own] {
        map.retain(|key, value| KEYS.contains(&key.as_str()) && !is_empty(value));
    }
    // A new entry point makes the container's command meaningless.
    if config.contains_key("Entrypoint") {
        own.remove("Cmd");
    }
    for (key, value) in own {
        match (config.get_mut(&key), value) {
            (None, value) => drop(config.insert(key, value)),
            (Some(Value::Object(known)), Value::Object(more)) if key != "Healthcheck" => {
                for (key, value) in more {
                    known.entry(key).or_insert(value);
                }
            }
            (Some(Value::Array(known)), Value::Array(more)) if key == "Env" => {
                let name =
                    |value: &Value| value.as_str().and_then(|text| text.split('=').next()).map(str::to_owned);
                let names: Vec<_> = known.iter().map(name).collect();
                known.extend(more.into_iter().filter(|value| !names.contains(&name(value))));
            }
            _ => {}
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

async fn commit_as(
    daemon: &Rc<Daemon>,
    container: &Rc<Container>,
    new: NewImage,
    settings: Settings,
    pause: bool,
) -> Result<String, EngineError> {
    let name = new.name.as_ref().map(ToString::to_string).unwrap_or_default();
    let comment = new.comment.clone();
    let reached = held::reach(daemon, container).await?;
    let frozen = pause && !reached.is_held() && container.status() == Status::Running;
    if frozen {
        ask(&reached.dir, container, "pause").await?;
    }
    let made = layer(daemon, container, &reached.dir, new, settings).await;
    if frozen && let Err(error) = ask(&reached.dir, container, "unpause").await {
        report("cannot thaw a container after its commit", &error);
    }
    let id = made?;
    let told = container.event("commit", &[("comment", &comment), ("imageID", &id), ("imageRef", &name)]);
    job::keep(daemon, vec![told]).await?;
    Ok(id)
}

async fn ask(dir: &PodDir, container: &Container, verb: &str) -> Result<(), EngineError> {
    client::ask(dir, Method::POST, &format!("/containers/{}/{verb}", container.id)).await?;
    Ok(())
}

/// Makes the image of what the pod tells to be written.
async fn layer(
    daemon: &Rc<Daemon>,
    container: &Container,
    dir: &PodDir,
    new: NewImage,
    settings: Settings,
) -> Result<String, EngineError> {
    let target = format!("/containers/{}/layer", container.id);
    let answer =
        client::send(client::connect(dir)?, Method::GET, &target, &HeaderMap::new(), Upload::None).await?;
    let answer = client::good(answer).await?;
    let (uploading, upload) = archive::channel();
    let store = daemon.images.clone();
    let making = blocking(move || {
        let cancel = AtomicBool::new(false);
        image::make(&store, upload, &new, &settings.options(&cancel)).map_err(make::not_made)
    });
    let (made, ()) = tokio::join!(making, uploading.of_pod(answer.into_body()));
    Ok(made?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_container_has_is_added() {
        let object = |json: Value| json.as_object().unwrap().clone();
        let own = json!({
            "Hostname": "h", "Tty": true, "Env": ["A=1", "B=2"], "Cmd": ["serve"], "Labels": {"a": "1", "b": "2"},
            "WorkingDir": "/srv", "Healthcheck": {"Test": ["NONE"]}, "Volumes": null,
        });
        let mut config =
            object(json!({"Env": ["B=3"], "Labels": {"b": "3"}, "WorkingDir": "", "Hostname": "x"}));
        merge(&mut config, object(own.clone()));
        let expected = json!({
            "Env": ["B=3", "A=1"], "Cmd": ["serve"], "Labels": {"a": "1", "b": "3"}, "WorkingDir": "/srv",
            "Healthcheck": {"Test": ["NONE"]},
        });
        assert_eq!(Value::Object(config), expected);
        let mut config = object(json!({"Entrypoint": ["/init"]}));
        merge(&mut config, object(own));
        assert_eq!((&config["Entrypoint"], config.get("Cmd")), (&json!(["/init"]), None));
    }

    #[test]
    fn a_body_is_a_configuration_or_nothing() {
        assert_eq!(wanted(b"").unwrap(), None);
        assert_eq!(wanted(b"null\n").unwrap(), None);
        assert!(wanted(b"{}").unwrap().is_some());
        assert!(wanted(b"[]").is_err() && wanted(b"{").is_err());
    }
}

//! Execs (Docker Engine API, "Exec"): made and run by the pod, found by their ids, and remembered when their pod has gone.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use bollard_stubs::models::{ExecConfig, ExecInspectResponse, ExecStartConfig};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use vdocker::EngineError;
use vdocker::encoding::Encoding;
use vdocker::response::{self, Response};

use super::record::Status;
use super::{Container, attach};
use crate::context::Context;
use crate::daemon::Daemon;
use crate::failure::{failed, report};
use crate::pods::client::{self, Protocol, Upload};
use crate::pods::feed::PodEvent;
use crate::pods::held;
use crate::proxy;

/// Execs of one container that are known: as many as a pod has. The oldest that have ended are forgotten first, and where
/// none has, those that were made first.
const KEPT: usize = 256;

/// The exit code of what ended with its machine.
const KILLED: i64 = 137;

/// What a pod tells of an exec, once each.
const TOLD: [&str; 3] = ["exec_create", "exec_start", "exec_die"];

/// How long a pod may take to describe an exec: a guest that does not answer holds nobody up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of an exec's words that a guest tells of, and what each takes beside its text.
const MAX_WORDS: usize = 64 << 10;
const WORD: usize = 32;

/// All execs that are known.
#[derive(Default)]
pub(crate) struct Execs {
    known: RefCell<HashMap<String, Known>>,
    made: Cell<u64>,
}

/// An exec.
#[derive(Clone, Debug)]
struct Known {
    container: String,
    /// What the client asked for.
    wish: Value,
    /// `Some` when it has ended.
    code: Option<i64>,
    /// Counts up: the oldest is forgotten first.
    number: u64,
    /// Which of [`TOLD`] its pod has told of it.
    told: [bool; TOLD.len()],
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "Id")]
    id: String,
}

impl Execs {
    fn add(&self, id: String, container: &str, wish: Value) {
        let mut known = self.known.borrow_mut();
        let number = self.made.replace(self.made.get() + 1);
        let (container, told) = (container.to_owned(), [false; TOLD.len()]);
        known.insert(id, Known { container: container.clone(), wish, code: None, number, told });
        let of_container = || known.iter().filter(|(_, exec)| exec.container == container);
        if of_container().count() > KEPT {
            let oldest = of_container().min_by_key(|(_, exec)| (exec.code.is_none(), exec.number));
            let oldest = oldest.map(|(id, _)| id.clone());
            oldest.map(|id| known.remove(&id));
        }
    }

    fn find(&self, wanted: &str) -> Result<(String, Known), EngineError> {
        let known = self.known.borrow();
        if let Some(exec) = known.get(wanted) {
            return Ok((wanted.to_owned(), exec.clone()));
        }
        let mut found = known.iter().filter(|(id, _)| !wanted.is_empty() && id.starts_with(wanted));
        match (found.next(), found.next()) {
            (Some((id, exec)), None) => Ok((id.clone(), exec.clone())),
            _ => Err(missing(wanted)),
        }
    }

    /// The ids of a container's execs that run.
    pub(super) fn of(&self, container: &str) -> Vec<String> {
        let known = self.known.borrow();
        let running = known.iter().filter(|(_, exec)| exec.container == container && exec.code.is_none());
        running.map(|(id, _)| id.clone()).collect()
    }
}

/// What inspect shows of a wish when the pod has gone: the rest may be megabytes.
fn shown(wish: &Value) -> Value {
    const SHOWN: [&str; 6] = ["Cmd", "Tty", "Privileged", "AttachStdin", "AttachStderr", "AttachStdout"];
    SHOWN.iter().filter_map(|name| Some(((*name).to_owned(), wish.get(*name)?.clone()))).collect()
}

fn missing(id: &str) -> EngineError {
    EngineError::NotFound(format!("No such exec instance: {id}"))
}

/// `POST /containers/{id}/exec`.
pub(super) async fn create(mut context: Context) -> Result<Response, EngineError> {
    let container = context.daemon.containers.find(&context.name)?;
    if container.status() == Status::Paused {
        return Err(EngineError::Conflict(format!(
            "Container {} is paused, unpause the container before exec",
            container.id
        )));
    }
    proxy::must_run(&container)?;
    let wish: ExecConfig = context.json().await?;
    let wish = serde_json::to_value(wish).map_err(|error| failed(&error))?;
    let (daemon, exits) = (Rc::clone(&context.daemon), container.life.borrow().exits);
    let dir = daemon.pods.of(&container.id).map_err(|error| failed(&error))?;
    let target = format!("/v{}/containers/{}/exec", context.version, container.id);
    let body = Bytes::from(wish.to_string());
    let asked = async {
        let stream = client::connect(&dir)?;
        let answer =
            client::send(stream, Method::POST, &target, &context.headers, Upload::Bytes(body)).await?;
        client::whole(client::good(answer).await?.into_body()).await
    };
    let bytes = match asked.await {
        Ok(bytes) => bytes,
        Err(error) => return Err(proxy::broken(&container, exits, error).await),
    };
    let created: Created = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
    if !crate::id::is_id(&created.id) || daemon.execs.known.borrow().contains_key(&created.id) {
        return Err(client::PodError::Answer.into());
    }
    daemon.execs.add(created.id.clone(), &container.id, shown(&wish));
    response::json(StatusCode::CREATED, &json!({ "Id": created.id }))
}

/// `POST /exec/{id}/start`.
pub(super) async fn start(mut context: Context) -> Result<Response, EngineError> {
    let (id, exec) = context.daemon.execs.find(&context.name)?;
    let container = context.daemon.containers.find(&exec.container)?;
    if exec.code.is_some() {
        return Err(EngineError::Conflict(format!("Error: Exec command {id} has already run")));
    }
    proxy::must_run(&container)?;
    let wish: ExecStartConfig = context.json().await?;
    let (detach, tty) = (wish.detach.unwrap_or_default(), wish.tty.unwrap_or_default());
    let json = serde_json::to_vec(&wish).map_err(|error| failed(&error))?;
    let (daemon, exits) = (Rc::clone(&context.daemon), container.life.borrow().exits);
    let dir = daemon.pods.of(&container.id).map_err(|error| failed(&error))?;
    let target = format!("/v{}/exec/{id}/start", context.version);
    if detach {
        let started = async {
            let (stream, body) = (client::connect(&dir)?, Upload::Bytes(json.into()));
            client::good(client::send(stream, Method::POST, &target, &context.headers, body).await?).await
        };
        return match started.await {
            Ok(_) => Ok(response::status(StatusCode::OK)),
            Err(error) => Err(proxy::broken(&container, exits, error).await),
        };
    }
    context.wire.can_stream()?;
    let asked = async {
        client::ask_stream(client::connect(&dir)?, Protocol::Tcp, &target, Some(&json)).await?.answer().await
    };
    let upgraded = match asked.await {
        Ok(upgraded) => upgraded,
        Err(error) => return Err(proxy::broken(&container, exits, error).await),
    };
    let encoding = if tty { Encoding::Raw } else { Encoding::Multiplexed };
    let run = async move |stream| attach::splice(stream, upgraded).await;
    context.wire.hijack_as(context.version, &context.headers, encoding, run).await
}

/// `POST /exec/{id}/resize`.
pub(super) async fn resize(context: Context) -> Result<Response, EngineError> {
    let (id, exec) = context.daemon.execs.find(&context.name)?;
    let container = context.daemon.containers.find(&exec.container)?;
    proxy::must_run(&container)?;
    let exits = container.life.borrow().exits;
    let reached = held::reach(&Rc::clone(&context.daemon), &container).await?;
    // It ended meanwhile: no exec runs in a pod that is held.
    if reached.is_held() {
        return Err(proxy::not_running(&container));
    }
    let target = format!("/v{}/exec/{id}/resize?{}", context.version, context.query_text());
    proxy::request(context, &container, &target, reached, exits).await
}

/// `GET /exec/{id}/json`.
pub(super) async fn inspect(context: Context) -> Result<Response, EngineError> {
    let (id, exec) = context.daemon.execs.find(&context.name)?;
    let container = context.daemon.containers.find(&exec.container)?;
    if container.is_reachable.get() {
        let dir = context.daemon.pods.of(&container.id).map_err(|error| failed(&error))?;
        let asked = client::get::<Value>(&dir, &format!("/v{}/exec/{id}/json", context.version)).await;
        // The pod may go this moment.
        if let Ok(found) = asked {
            return response::json(StatusCode::OK, &found);
        }
    }
    let code = context.daemon.execs.find(&id)?.1.code.unwrap_or(KILLED);
    response::json(StatusCode::OK, &describe(&id, &exec, code))
}

/// An exec whose pod has gone.
fn describe(id: &str, exec: &Known, code: i64) -> Value {
    let wish = |name: &str| exec.wish.get(name).cloned();
    let flag = |name: &str| wish(name).and_then(|value| value.as_bool()).unwrap_or_default();
    let words: Vec<String> =
        wish("Cmd").and_then(|words| serde_json::from_value(words).ok()).unwrap_or_default();
    let (program, arguments) =
        words.split_first().map_or((String::new(), &[][..]), |(first, rest)| (first.clone(), rest));
    json!({
        "ID": id,
        "Running": false,
        "ExitCode": code,
        "ProcessConfig": {
            "tty": flag("Tty"),
            "entrypoint": program,
            "arguments": arguments,
            "privileged": flag("Privileged"),
        },
        "OpenStdin": flag("AttachStdin"),
        "OpenStderr": flag("AttachStderr"),
        "OpenStdout": flag("AttachStdout"),
        "CanRemove": false,
        "ContainerID": exec.container,
        "DetachKeys": "",
        "Pid": 0,
    })
}

/// Keeps the exit code of an exec.
pub(super) fn died(daemon: &Rc<Daemon>, container: &Container, attributes: &BTreeMap<String, String>) {
    let code = attributes.get("exitCode").and_then(|code| code.parse().ok());
    if let Some(id) = attributes.get("execID")
        && let Some(exec) = daemon.execs.known.borrow_mut().get_mut(id)
        // A pod tells of its own.
        && exec.container == container.id
    {
        exec.code = code.or(Some(KILLED));
    }
}

/// Whether an event is one of those that an exec of a client has, and had not yet.
pub(super) fn is_awaited(daemon: &Daemon, container: &Container, event: &PodEvent) -> bool {
    let kind = event.action.split(':').next().unwrap_or_default();
    let mut known = daemon.execs.known.borrow_mut();
    let exec = event.attributes().get("execID").and_then(|id| known.get_mut(id));
    let place = TOLD.iter().position(|told| *told == kind);
    match (exec.filter(|exec| exec.container == container.id), place) {
        (Some(exec), Some(place)) => !std::mem::replace(&mut exec.told[place], true),
        _ => false,
    }
}

/// Learns of an exec that has ended before this daemon began, of what an earlier one has told.
pub(super) fn recall(daemon: &Rc<Daemon>, container: &Container, event: &PodEvent) {
    let id = event.attributes().get("execID").filter(|id| crate::id::is_id(id));
    if let Some(id) = id.filter(|_| event.action == "exec_die") {
        if !daemon.execs.known.borrow().contains_key(id) {
            daemon.execs.add(id.clone(), &container.id, json!({}));
        }
        died(daemon, container, event.attributes());
    }
}

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "ExecIDs")]
    execs: Option<Vec<String>>,
}

/// Learns which execs run in a pod that an earlier daemon has started.
pub(super) async fn learn(daemon: &Rc<Daemon>, container: &Container) {
    let Ok(dir) = daemon.pods.of(&container.id) else { return };
    let asked = async {
        let inspected: Inspected = client::get(&dir, &format!("/containers/{}/json", container.id)).await?;
        let ids = inspected.execs.unwrap_or_default();
        for id in ids.into_iter().filter(|id| crate::id::is_id(id)).take(KEPT) {
            let exec: ExecInspectResponse = client::get(&dir, &format!("/exec/{id}/json")).await?;
            if !daemon.execs.known.borrow().contains_key(&id) {
                daemon.execs.add(id, &container.id, wish(exec));
            }
        }
        Ok::<_, client::PodError>(())
    };
    // Those that it has described until its time is over are known.
    if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, asked).await {
        report("cannot learn what runs beside a container's program", &error);
    }
}

/// The first of an exec's words, as many as are kept: a guest says them.
fn bounded(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut left = MAX_WORDS;
    let fits = |word: &String| {
        let rest = left.checked_sub(word.len() + WORD);
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    words.take_while(fits).collect()
}

/// What a client asked for, of what a pod shows of it.
fn wish(exec: ExecInspectResponse) -> Value {
    let config = exec.process_config.unwrap_or_default();
    let words = bounded(config.entrypoint.into_iter().chain(config.arguments.into_iter().flatten()));
    json!({
        "Cmd": words,
        "Tty": config.tty,
        "Privileged": config.privileged,
        "AttachStdin": exec.open_stdin,
        "AttachStdout": exec.open_stdout,
        "AttachStderr": exec.open_stderr,
    })
}

/// The execs of a container that has ended have ended too.
pub(super) fn ended(daemon: &Rc<Daemon>, container: &Container) {
    let mut known = daemon.execs.known.borrow_mut();
    for exec in known.values_mut().filter(|exec| exec.container == container.id) {
        exec.code.get_or_insert(KILLED);
    }
}

/// The container is no more.
pub(super) fn forget(daemon: &Rc<Daemon>, container: &Container) {
    daemon.execs.known.borrow_mut().retain(|_, exec| exec.container != container.id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_bounded() {
        let execs = Execs::default();
        let id = |number: usize| format!("{number:064x}");
        for number in 0..=KEPT {
            execs.add(id(number), "one", json!({}));
        }
        execs.add(id(9999), "other", json!({}));
        assert!(execs.find(&id(0)).is_err() && execs.find(&id(1)).is_ok() && execs.find(&id(9999)).is_ok());
        execs.known.borrow_mut().get_mut(&id(7)).unwrap().code = Some(0);
        execs.add(id(KEPT + 1), "one", json!({}));
        assert!(execs.find(&id(7)).is_err() && execs.find(&id(1)).is_ok(), "one that has ended goes first");
    }

    #[test]
    fn a_guest_has_room_for_so_many_words() {
        let words = |number, length| bounded(std::iter::repeat_n("x".repeat(length), number));
        assert_eq!(words(3, 9), vec!["x".repeat(9); 3]);
        assert_eq!((words(1 << 20, 0).len(), words(2, (64 << 10) - 32).len()), (2048, 1));
        assert!(words(1, (64 << 10) - 31).is_empty());
        let torn = bounded([3, MAX_WORDS, 3].into_iter().map(|length| "x".repeat(length)));
        assert_eq!(torn, ["xxx"], "nothing comes after what is left out");
    }

    #[test]
    fn of_a_wish_only_what_is_shown_is_kept() {
        let wish = json!({ "Cmd": ["sh"], "Tty": true, "Env": ["x=".to_owned() + &"y".repeat(100)] });
        assert_eq!(shown(&wish), json!({ "Cmd": ["sh"], "Tty": true }));
    }
}

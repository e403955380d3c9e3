//! Exec (Docker Engine API, "Exec"): create, start, resize and inspect.

use std::rc::Rc;

use hyper::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};

use super::terminal_size;
use crate::container::{Container, Status};
use crate::context::Context;
use crate::detach::DetachKeys;
use crate::encoding::Encoding;
use crate::engine::{Engine, EngineError, TerminalSize, Verb};
use crate::exec::ExecSpec;
use crate::exec::registry::{Exec, Stage, Streams};
use crate::exec::session;
use crate::response::{self, Response};

/// The body of a creation.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Creation {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    #[serde(deserialize_with = "null_is_empty")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    env: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    working_dir: String,
    #[serde(deserialize_with = "null_is_empty")]
    user: String,
    tty: bool,
    privileged: bool,
    #[serde(deserialize_with = "null_is_empty")]
    detach_keys: String,
    console_size: Option<[u32; 2]>,
}

/// The body of a start.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Start {
    detach: bool,
    tty: bool,
    console_size: Option<[u32; 2]>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Created<'a> {
    id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inspect<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    running: bool,
    exit_code: Option<u8>,
    process_config: ProcessConfig<'a>,
    open_stdin: bool,
    open_stderr: bool,
    open_stdout: bool,
    can_remove: bool,
    #[serde(rename = "ContainerID")]
    container_id: &'a str,
    detach_keys: &'a str,
    pid: u32,
}

#[derive(Serialize)]
struct ProcessConfig<'a> {
    tty: bool,
    entrypoint: &'a str,
    arguments: &'a [String],
    privileged: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
}

/// `POST /containers/{id}/exec`.
pub(super) async fn create<E: Engine>(
    mut context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let wanted: Creation = context.json().await?;
    if wanted.cmd.is_empty() {
        return Err(EngineError::BadRequest("No exec command specified".into()));
    }
    if wanted.privileged {
        context.engine.permit(Verb::ExecPrivileged, Some(&container))?;
    }
    can_exec(&container)?;
    let keys = DetachKeys::wanted(&wanted.detach_keys)?;
    let spec = ExecSpec {
        cmd: wanted.cmd,
        env: wanted.env,
        workdir: wanted.working_dir,
        user: wanted.user,
        tty: wanted.tty,
        stdin: wanted.attach_stdin,
        privileged: wanted.privileged,
        size: console_size(&context, wanted.console_size).unwrap_or_default(),
    };
    let streams =
        Streams { stdin: wanted.attach_stdin, stdout: wanted.attach_stdout, stderr: wanted.attach_stderr };
    let exec = context.api.execs.add(&container, spec, streams, keys)?;
    session::tell(&*context.engine, &exec, "exec_create");
    response::json(StatusCode::CREATED, &Created { id: &exec.id })
}

/// `POST /exec/{id}/start`.
pub(super) async fn start<E: Engine>(
    mut context: Context<E>,
    exec: Rc<Exec>,
) -> Result<Response, EngineError> {
    let wanted: Start = context.json().await?;
    can_exec(&exec.container)?;
    let starting = exec.begin()?;
    if let Some(size) = console_size(&context, wanted.console_size).filter(|_| wanted.tty) {
        exec.resize(size);
    }
    if wanted.detach {
        return match session::detached(session::begin(&context.engine, starting)?).await {
            Ok(()) => Ok(response::status(StatusCode::OK)),
            Err(error) => Err(EngineError::BadRequest(error.message)),
        };
    }
    // Nothing else comes between this and the stream: there will be one.
    context.can_stream()?;
    let begun = session::begin(&context.engine, starting)?;
    let encoding = if wanted.tty { Encoding::Raw } else { Encoding::Multiplexed };
    context.hijack_as(encoding, async move |stream| session::run(begun, encoding, stream).await).await
}

/// `POST /exec/{id}/resize`.
pub(super) async fn resize<E: Engine>(context: Context<E>, exec: Rc<Exec>) -> Result<Response, EngineError> {
    can_exec(&exec.container)?;
    exec.resize(terminal_size(&context.query)?);
    Ok(response::status(StatusCode::OK))
}

/// `GET /exec/{id}/json`.
pub(super) async fn inspect<E: Engine>(
    _context: Context<E>,
    exec: Rc<Exec>,
) -> Result<Response, EngineError> {
    let (entrypoint, arguments) =
        exec.cmd().split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    let process_config = ProcessConfig {
        tty: exec.tty(),
        entrypoint,
        arguments,
        privileged: exec.privileged(),
        user: exec.user(),
    };
    let stage = exec.stage();
    let Streams { stdin, stdout, stderr } = exec.streams;
    response::json(
        StatusCode::OK,
        &Inspect {
            id: &exec.id,
            running: stage == Stage::Running,
            exit_code: if let Stage::Ended(code) = stage { Some(code) } else { None },
            process_config,
            open_stdin: stdin,
            open_stderr: stderr,
            open_stdout: stdout,
            can_remove: false,
            container_id: &exec.container.id,
            detach_keys: "",
            pid: exec.pid(),
        },
    )
}

/// Whether a program can be run in a container now.
fn can_exec(container: &Container) -> Result<(), EngineError> {
    let id = &container.id;
    Err(EngineError::Conflict(match container.state.borrow().status {
        Status::Running => return Ok(()),
        Status::Paused => format!("Container {id} is paused, unpause the container before exec"),
        Status::Restarting => format!("Container {id} is restarting, wait until the container is running"),
        Status::Created | Status::Exited => format!("container {id} is not running"),
    }))
}

/// The size that a client gives along, where its version has that.
fn console_size<E: Engine>(context: &Context<E>, size: Option<[u32; 2]>) -> Option<TerminalSize> {
    let [rows, columns] = size.filter(|_| context.version.at_least(42))?;
    let fit = |length| u16::try_from(length).unwrap_or(u16::MAX);
    Some(TerminalSize { rows: fit(rows), columns: fit(columns) })
}

/// Some clients write `null` for what they leave out.
fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

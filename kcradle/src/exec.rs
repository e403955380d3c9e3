//! `kcradle exec`: runs a program in a container beside its first one.

use std::sync::Arc;

use anyhow::Context as _;
use image::container::{EnvChange, env};
use serde::{Deserialize, Serialize};

use crate::api::container;
use crate::api::query::Query;
use crate::api::session::{End, Order, Session, check_terminal, code_of_signal};
use crate::api::{Api, ApiError};
use crate::cli::containers::ExecArgs;
use crate::failure::Failure;
use crate::run::terminal;

/// The body of `POST /containers/NAME/exec`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Create<'a> {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    tty: bool,
    cmd: &'a [String],
    env: Vec<String>,
    user: &'a str,
    working_dir: &'a str,
    privileged: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detach_keys: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    console_size: Option<[u16; 2]>,
}

/// The answer to it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

/// The body of `POST /exec/ID/start`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Start {
    detach: bool,
    tty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    console_size: Option<[u16; 2]>,
}

/// The answer to `GET /exec/ID/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inspect {
    exit_code: Option<i64>,
}

/// Runs the program; the exit code is its own.
pub(crate) fn run(args: &ExecArgs) -> Result<u8, Failure> {
    let api = Arc::new(Api::of(&args.pod.dir)?);
    let stdin = args.interactive && !args.detach;
    if !args.detach {
        check_terminal(stdin, args.tty)?;
    }
    let size = terminal::size().filter(|_| args.tty).map(|(rows, columns)| [rows, columns]);
    let create = Create {
        attach_stdin: stdin,
        attach_stdout: !args.detach,
        attach_stderr: !args.detach,
        tty: args.tty,
        cmd: &args.command,
        env: environment(args)?,
        user: args.user.as_deref().unwrap_or_default(),
        working_dir: args.workdir.as_deref().unwrap_or_default(),
        privileged: args.privileged,
        detach_keys: args.detach_keys.as_ref().map(|keys| keys.text()),
        console_size: size,
    };
    let name = container::name(args.pod.container.as_ref());
    let created: Created =
        api.post(Query::container(name, "exec").as_str(), &create).map_err(anyhow::Error::from)?;
    let path = |what: &str| Query::of(format!("/exec/{}/{what}", created.id));
    let start = Start { detach: args.detach, tty: args.tty, console_size: size };
    if args.detach {
        let upload = serde_json::to_vec(&start).context("cannot write the request")?;
        let upload = crate::api::http::Upload::Json(upload);
        api.call("POST", path("start").as_str(), upload).map_err(anyhow::Error::from)?;
        return Ok(0);
    }
    let (teller, resize) = (Arc::clone(&api), path("resize"));
    let tell = move |order| {
        if let Order::Resize(rows, columns) = order {
            let path = resize.clone().with("h", rows.to_string()).with("w", columns.to_string());
            // A program that has just ended has no terminal; the session hears of the end.
            let _ = teller.order(path.as_str());
        }
    };
    let keys = args.detach_keys.clone().unwrap_or_default();
    let session = Session { tty: args.tty, stdin, keys, proxy: false, tell: Box::new(tell) };
    let (opener, begin) = (Arc::clone(&api), path("start"));
    let open = move || {
        opener.upgrade(begin.as_str(), Some(&start)).map_err(|error| anyhow::Error::from(error).into())
    };
    match session.run(open)? {
        End::Output => code(api.get(path("json").as_str())),
        End::Detached => {
            // Docker's clients take it for an error that the program goes on.
            eprintln!("read escape sequence");
            Ok(1)
        }
        End::Signal(number) => Ok(code_of_signal(number)),
    }
}

fn code(inspect: Result<Inspect, ApiError>) -> Result<u8, Failure> {
    let code = inspect.map_err(anyhow::Error::from)?.exit_code;
    let code = code.context("the program goes on, although its output has ended")?;
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The variables of the files, then those of the arguments. A name alone takes this process's value, and is passed over
/// where there is none.
fn environment(args: &ExecArgs) -> Result<Vec<String>, Failure> {
    let host = |name: &str| std::env::var(name).ok();
    let mut changes = Vec::new();
    for path in &args.env_file {
        let wrong = || format!("cannot read environment file {}", path.display());
        let content = std::fs::read_to_string(path).with_context(wrong)?;
        changes.extend(env::from_file(&content, host).with_context(wrong)?);
    }
    for text in &args.env {
        changes.push(env::from_option(text, host).context("invalid value for --env")?);
    }
    let set = |change| match change {
        EnvChange::Set(variable) => Some(format!("{}={}", variable.name, variable.value)),
        EnvChange::Unset(_) => None,
    };
    Ok(changes.into_iter().filter_map(set).collect())
}

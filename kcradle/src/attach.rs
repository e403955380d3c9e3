//! `kcradle attach`: the user's streams at those of a container's first process.

use std::io::IsTerminal as _;
use std::sync::{Arc, mpsc};

use anyhow::Context as _;
use serde::Deserialize;

use crate::api::container::{self, Inspect};
use crate::api::query::Query;
use crate::api::session::{End, Order, Session, check_terminal, code_of_signal};
use crate::api::{Api, ApiError};
use crate::cli::containers::AttachArgs;
use crate::failure::Failure;
use crate::run::terminal;

/// The answer to `POST /containers/NAME/wait`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Waited {
    status_code: i64,
    error: Option<WaitError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WaitError {
    message: String,
}

/// Attaches until the container ends or the user leaves; the exit code is the container's.
pub(crate) fn run(args: &AttachArgs) -> Result<u8, Failure> {
    let api = Arc::new(Api::of(&args.pod.dir)?);
    let name = container::name(args.pod.container.as_ref()).to_owned();
    let inspect = Inspect::of(&api, &name).map_err(anyhow::Error::from)?;
    let state = &inspect.state;
    if state.paused {
        return Err(Failure::new("you cannot attach to a paused container, unpause it first"));
    }
    if state.restarting {
        return Err(Failure::new("you cannot attach to a restarting container, wait until it is running"));
    }
    if !state.running {
        return Err(Failure::new("you cannot attach to a stopped container, start it first"));
    }
    let stdin = inspect.config.open_stdin && !args.no_stdin;
    let tty = inspect.config.tty;
    check_terminal(stdin, tty)?;

    let keys = args.detach_keys.clone().unwrap_or_default();
    let mut query =
        Query::container(&name, "attach").with("stream", "1").with("stdout", "1").with("stderr", "1");
    query = query.flag("stdin", stdin);
    if args.detach_keys.is_some() {
        query = query.with("detachKeys", keys.text());
    }
    let teller = Arc::clone(&api);
    let told = name.clone();
    let tell = move |order| {
        let path = match order {
            Order::Resize(rows, columns) => {
                Query::container(&told, "resize").with("h", rows.to_string()).with("w", columns.to_string())
            }
            Order::Signal(number) => Query::container(&told, "kill").with("signal", number.to_string()),
        };
        // A container that has just ended needs neither; the session hears of the end.
        let _ = teller.order(path.as_str());
    };
    if let Some((rows, columns)) = terminal::size().filter(|_| tty && std::io::stdout().is_terminal()) {
        tell(Order::Resize(rows, columns));
    }
    let session = Session { tty, stdin, keys, proxy: args.sig_proxy && !tty, tell: Box::new(tell) };
    let (waited, ended) = mpsc::channel();
    let end = session.run(move || {
        let waiter = Arc::clone(&api);
        let path = Query::container(&name, "wait");
        let wait = move || {
            let result: Result<Waited, ApiError> = waiter.ask("POST", path.as_str());
            let _ = waited.send(result);
        };
        // Asked for first, so that an end at any time is not missed; here, where no signal ends the process.
        std::thread::Builder::new().name("wait".into()).spawn(wait).context("cannot start a thread")?;
        api.upgrade(query.as_str(), None::<&()>).map_err(|error| anyhow::Error::from(error).into())
    })?;
    match end {
        End::Detached => {
            // Docker's clients take it for an error that the program goes on.
            eprintln!("read escape sequence");
            Ok(1)
        }
        End::Signal(number) => Ok(code_of_signal(number)),
        End::Output => code(ended.recv().context("the wait for the container failed")?),
    }
}

fn code(waited: Result<Waited, ApiError>) -> Result<u8, Failure> {
    let waited = waited.map_err(anyhow::Error::from)?;
    match waited.error.filter(|error| !error.message.is_empty()) {
        Some(error) => Err(Failure::new(error.message)),
        None => Ok(u8::try_from(waited.status_code).unwrap_or(u8::MAX)),
    }
}

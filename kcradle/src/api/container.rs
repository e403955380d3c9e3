//! Containers as the API describes them, as far as the commands look.

use serde::Deserialize;

use super::query::Query;
use super::{Api, ApiError};

/// The name of the container that is meant where the user names none.
const FIRST: &str = "container.0";

/// The container that is meant.
pub(crate) fn name(given: Option<&String>) -> &str {
    given.map_or(FIRST, String::as_str)
}

/// `GET /containers/NAME/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Inspect {
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) config: Config,
}

/// `State` of it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct State {
    pub(crate) running: bool,
    pub(crate) paused: bool,
    pub(crate) restarting: bool,
}

/// `Config` of it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Config {
    pub(crate) tty: bool,
    pub(crate) open_stdin: bool,
}

/// An object of `GET /containers/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    id: String,
}

/// The ids of the containers that run, or of all.
pub(crate) fn listed(api: &Api, all: bool) -> Result<Vec<String>, anyhow::Error> {
    let query = Query::of("/containers/json".to_owned()).flag("all", all);
    let mut list: Vec<Listed> = api.get(query.as_str())?;
    // Docker lists the latest first, and so does the pod: its first container comes last.
    list.reverse();
    Ok(list.into_iter().map(|container| container.id).collect())
}

impl Inspect {
    /// What the API says of a container.
    pub(crate) fn of(api: &Api, name: &str) -> Result<Self, ApiError> {
        api.get(Query::container(name, "json").as_str())
    }
}

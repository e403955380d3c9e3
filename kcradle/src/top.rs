//! `kcradle top`: the processes of a container.

use serde::Deserialize;

use crate::api::Api;
use crate::api::container;
use crate::api::query::Query;
use crate::cli::containers::TopArgs;
use crate::failure::Failure;
use crate::table;

/// The answer to `GET /containers/NAME/top`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Top {
    titles: Vec<String>,
    processes: Vec<Vec<String>>,
}

/// Prints a line a process.
pub(crate) fn run(args: &TopArgs) -> Result<u8, Failure> {
    let api = Api::of(&args.pod.dir)?;
    let mut query = Query::container(container::name(args.pod.container.as_ref()), "top");
    if !args.ps_options.is_empty() {
        query = query.with("ps_args", args.ps_options.join(" "));
    }
    let top: Top = api.get(query.as_str()).map_err(anyhow::Error::from)?;
    let titles: Vec<_> = top.titles.iter().map(String::as_str).collect();
    table::print(&titles, top.processes);
    Ok(0)
}

//! `kcradle inspect`: all that the API says of containers, as JSON.

use anyhow::Context as _;
use serde_json::Value;

use crate::api::Api;
use crate::api::container;
use crate::api::query::Query;
use crate::cli::containers::InspectArgs;
use crate::failure::Failure;
use crate::stdout;

/// Prints an array with an object for each container.
pub(crate) fn run(args: &InspectArgs) -> Result<u8, Failure> {
    let api = Api::of(&args.dir)?;
    let names =
        if args.container.is_empty() { container::listed(&api, true)? } else { args.container.clone() };
    let inspect = |name: &String| {
        let query = Query::container(name, "json").flag("size", args.size);
        api.get::<Value>(query.as_str()).map_err(anyhow::Error::from)
    };
    let found = names.iter().map(inspect).collect::<Result<Vec<_>, _>>()?;
    stdout::line(format_args!("{}", serde_json::to_string_pretty(&found).context("cannot print JSON")?));
    Ok(0)
}

//! `kcradle inspect`: all that the API says of containers, as JSON or in a simple template.

mod template;

use std::io::IsTerminal as _;

use anyhow::Context as _;
use serde_json::Value;

use crate::api::Api;
use crate::api::container;
use crate::api::query::Query;
use crate::cli::containers::InspectArgs;
use crate::failure::{Failure, HintExt as _, push_visible};
use crate::stdout;

use template::{Template, TemplateError};

/// Prints an array with an object for each container, or what the template makes of each.
pub(crate) fn run(args: &InspectArgs) -> Result<u8, Failure> {
    let unfit = |error: TemplateError| anyhow::Error::from(error);
    let elsewhere = || {
        // The client takes no path that begins elsewhere than at the root.
        let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
        let dir = dir.display();
        format!("whole templates of Go: docker -H unix://{dir}/docker.sock inspect --format …; JSON: jq(1)")
    };
    let template = args.format.as_deref().map(Template::parse).transpose();
    let template = template.map_err(unfit).hint(elsewhere())?;
    let api = Api::of(&args.dir)?;
    let names =
        if args.container.is_empty() { container::listed(&api, true)? } else { args.container.clone() };
    let inspect = |name: &String| {
        let query = Query::container(name, "json").flag("size", args.size);
        api.get::<Value>(query.as_str()).map_err(anyhow::Error::from)
    };
    let found = names.iter().map(inspect).collect::<Result<Vec<_>, _>>()?;
    let Some(template) = template else {
        stdout::json(&found).context("cannot print JSON")?;
        return Ok(0);
    };
    for document in &found {
        let text = template.render(document).map_err(unfit).hint(elsewhere())?;
        stdout::line(format_args!("{}", if std::io::stdout().is_terminal() { visible(&text) } else { text }));
    }
    Ok(0)
}

/// A terminal obeys what is in a container's labels or errors; a script wants it as it is.
fn visible(text: &str) -> String {
    let mut visible = String::new();
    push_visible(&mut visible, text);
    visible
}

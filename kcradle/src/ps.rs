//! `kcradle ps`: the containers of a running pod; without one, the pods.

use anyhow::Context as _;
use serde::Deserialize;

use crate::api::Api;
use crate::api::query::Query;
use crate::cli::LsArgs;
use crate::cli::containers::PsArgs;
use crate::clock;
use crate::failure::Failure;
use crate::stdout;
use crate::{ls, table};

/// An object of `GET /containers/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Container {
    id: String,
    names: Vec<String>,
    image: String,
    command: String,
    created: u64,
    status: String,
    ports: Vec<Port>,
}

/// A port of it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    private_port: u16,
    #[serde(rename = "Type")]
    protocol: String,
}

/// The longest command of a line, in characters.
const MAX_COMMAND: usize = 20;

/// Prints a line a container.
pub(crate) fn run(args: &PsArgs) -> Result<u8, Failure> {
    let Some(dir) = &args.dir else { return ls::run(&LsArgs { quiet: args.quiet, json: args.json }) };
    let api = Api::of(dir)?;
    let query = Query::of("/containers/json".to_owned()).flag("all", args.all);
    let list: serde_json::Value = api.get(query.as_str()).map_err(anyhow::Error::from)?;
    if args.json {
        stdout::json(&list).context("cannot print JSON")?;
        return Ok(0);
    }
    let list: Vec<Container> = serde_json::from_value(list).context("the pod's list is malformed")?;
    let id = |container: &Container| match args.no_trunc {
        true => container.id.clone(),
        false => container.id.chars().take(12).collect(),
    };
    if args.quiet {
        list.iter().for_each(|container| stdout::line(format_args!("{}", id(container).escape_debug())));
        return Ok(0);
    }
    let now = clock::now();
    let row = |container: &Container| {
        vec![
            id(container),
            container.image.clone(),
            command(&container.command, args.no_trunc),
            format!("{} ago", clock::age(now.saturating_sub(container.created))),
            container.status.clone(),
            ports(&container.ports),
            names(&container.names),
        ]
    };
    let header = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
    table::print(&header, list.iter().map(row).collect());
    Ok(0)
}

fn command(command: &str, whole: bool) -> String {
    if whole || command.chars().count() <= MAX_COMMAND {
        return format!("\"{command}\"");
    }
    let cut: String = command.chars().take(MAX_COMMAND - 1).collect();
    format!("\"{cut}…\"")
}

fn ports(ports: &[Port]) -> String {
    let port = |port: &Port| format!("{}/{}", port.private_port, port.protocol);
    ports.iter().map(port).collect::<Vec<_>>().join(", ")
}

fn names(names: &[String]) -> String {
    names.iter().map(|name| name.trim_start_matches('/')).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_as_docker_prints_them() {
        assert_eq!(command("sh -c 'sleep 1'", false), "\"sh -c 'sleep 1'\"");
        assert_eq!(command("docker-entrypoint.sh redis-server", false), "\"docker-entrypoint.s…\"");
        assert_eq!(names(&["/web".to_owned()]), "web");
        let port = |number| Port { private_port: number, protocol: "tcp".to_owned() };
        assert_eq!(ports(&[port(80), port(443)]), "80/tcp, 443/tcp");
    }
}

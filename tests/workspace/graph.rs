//! The crates of the workspace and all that they depend on, on the platform that we build for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::Command;

use serde_json::Value;

/// One crate of the graph.
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: String,
    pub(crate) ours: bool,
    /// Names of the crates it links: not what only its tests or build script use.
    pub(crate) links: BTreeSet<String>,
}

/// What `cargo metadata` resolves for x86-64 Linux; our crates' development dependencies are left out.
pub(crate) fn crates() -> Vec<Crate> {
    let manifest = tests::work_tree().join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform=x86_64-unknown-linux-gnu", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let graph: Value = serde_json::from_slice(&output.stdout).unwrap();
    let members: BTreeSet<&str> =
        list(&graph["workspace_members"]).iter().filter_map(Value::as_str).collect();
    let packages: HashMap<&str, &Value> =
        list(&graph["packages"]).iter().map(|package| (text(&package["id"]), package)).collect();
    let links: BTreeMap<&str, Vec<&str>> =
        list(&graph["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), linked(node))).collect();

    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&str> = members.iter().copied().collect();
    while let Some(id) = waiting.pop() {
        if reached.insert(id) {
            waiting.extend(&links[id]);
        }
    }
    reached
        .into_iter()
        .map(|id| Crate {
            name: text(&packages[id]["name"]).to_owned(),
            version: text(&packages[id]["version"]).to_owned(),
            licence: packages[id]["license"].as_str().unwrap_or_default().to_owned(),
            ours: members.contains(id),
            links: links[id].iter().map(|id| text(&packages[id]["name"]).to_owned()).collect(),
        })
        .collect()
}

/// The ids of a node's ordinary dependencies.
fn linked(node: &Value) -> Vec<&str> {
    list(&node["deps"])
        .iter()
        .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()))
        .map(|dep| text(&dep["pkg"]))
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

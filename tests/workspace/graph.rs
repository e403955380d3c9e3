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

/// The answer of `cargo metadata` for x86-64 Linux.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform=x86_64-unknown-linux-gnu", "--manifest-path"])
        .arg(tests::work_tree().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Names of the crates from elsewhere that ours name in their manifests, for tests and builds too.
pub(crate) fn direct() -> BTreeSet<String> {
    let graph = metadata();
    let packages = list(&graph["packages"]).iter().filter(|package| package["source"].is_null());
    let dependencies = packages.flat_map(|package| list(&package["dependencies"]));
    dependencies.filter(|dep| !dep["source"].is_null()).map(|dep| text(&dep["name"]).to_owned()).collect()
}

/// Names and versions of all crates that are built for ours, tests left out. `cargo metadata` names more: what only a
/// feature that nobody asks for would bring.
pub(crate) fn built() -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--workspace", "--edges=normal,build", "--prefix=none"])
        .args(["--exclude", env!("CARGO_PKG_NAME"), "--target=x86_64-unknown-linux-gnu", "--format={p}"])
        .arg("--manifest-path")
        .arg(tests::work_tree().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crates = String::from_utf8(output.stdout).unwrap();
    let name_and_version = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    crates.lines().filter_map(name_and_version).collect()
}

/// Our crates and all that they link; their development dependencies are left out.
pub(crate) fn crates() -> Vec<Crate> {
    let graph = metadata();
    let members: BTreeSet<&str> =
        list(&graph["workspace_members"]).iter().filter_map(Value::as_str).collect();
    let packages: HashMap<&str, &Value> =
        list(&graph["packages"]).iter().map(|package| (text(&package["id"]), package)).collect();
    let links: BTreeMap<&str, Vec<&str>> =
        list(&graph["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), linked(node))).collect();

    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&str> = members.iter().copied().collect();
    while let Some(id) = waiting.pop() {
        // What only this crate uses is in no program that anyone gets.
        if reached.insert(id) && text(&packages[id]["name"]) != env!("CARGO_PKG_NAME") {
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

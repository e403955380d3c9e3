//! `attest diff`: why two pods, or what was measured of them, have different launch digests.

use std::path::PathBuf;

use clap::Args;

use crate::check::Class;
use crate::diff::{Difference, diff};
use crate::measure::RunRow;

use super::{CommandError, output, pod};

/// `attest diff`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    attest diff ./web ./web-of-yesterday\n  \
    attest diff published.json ./web\n\n\
    Exit codes: 0 the digests are the same; 1 a file cannot be read; 15 they differ.")]
pub struct DiffArgs {
    /// A pod's directory, or a file that `attest measure --json` wrote
    #[arg(value_name = "A")]
    one: PathBuf,

    /// Another one
    #[arg(value_name = "B")]
    other: PathBuf,

    /// Print JSON; `null` where the digests are the same
    #[arg(long)]
    json: bool,
}

/// Prints the first difference and its cause.
pub(super) fn run(args: &DiffArgs) -> Result<u8, CommandError> {
    let (one, other) = (pod::measurement(&args.one)?, pod::measurement(&args.other)?);
    let difference = diff(&one, &other);
    if args.json {
        let text = serde_json::to_string_pretty(&difference).map_err(CommandError::Json)?;
        output::print(&format!("{}\n", output::visible(&text, "\n")))?;
    } else {
        let text = difference.as_ref().map_or_else(|| format!("same digest {}\n", one.digest), explained);
        output::print(&output::visible(&text, "\n"))?;
    }
    Ok(if difference.is_some() { Class::Measurement.exit_code() } else { 0 })
}

fn explained(difference: &Difference) -> String {
    let [one, other] = &difference.digests;
    let mut text = format!("A {one}\nB {other}\n\n");
    if let [None, None] = &difference.first {
        text.push_str("the digests differ, and no run of pages does: one of the documents was changed\n");
        return text;
    }
    text.push_str("first difference:\n");
    for (name, run) in ["A", "B"].iter().zip(&difference.first) {
        text.push_str(&format!("  {name} {}\n", run.as_ref().map_or("has no more pages".to_owned(), line)));
    }
    if let Some(run) = difference.first.iter().flatten().next() {
        text.push_str(&format!("it depends on {}\n", run.depends_on));
    }
    text.push_str(&format!("all that differ: {}\n\n", difference.runs.join(", ")));
    if difference.inputs.is_empty() {
        text.push_str("the inputs are the same: the programs that measured differ\n");
    }
    for input in &difference.inputs {
        let [one, other] = &input.values;
        text.push_str(&format!("{}\n  A {one}\n  B {other}\n", input.name));
    }
    text
}

fn line(run: &RunRow) -> String {
    let bytes = run.sha256.as_deref().unwrap_or("bytes not measured");
    format!("{} at {:#x}, {} {} pages, {bytes}", run.name, run.gpa, run.pages, run.kind)
}

//! `attest measure`: the launch digest of a pod, and what it is made of.

use std::path::PathBuf;

use clap::Args;

use crate::measure::Measurement;

use super::{CommandError, output, pod};

/// `attest measure`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    attest measure ./web                 the digest alone, for --measurement\n  \
    attest measure --explain ./web       what is launched, run by run\n  \
    attest measure --json ./web >web.json    for `attest diff`\n  \
    attest measure --pages pages ./web   what is launched, for others to measure (docs/snp.md)\n\n\
    Exit codes: 0 measured; 1 a file cannot be read, or the pod cannot be launched as an SNP guest.")]
pub struct MeasureArgs {
    /// The pod's directory; its `cradle` links to a runtime package for SNP guests
    #[arg(value_name = "DIR")]
    pod: PathBuf,

    /// Print the runs of pages, and what each depends on
    #[arg(long)]
    explain: bool,

    /// Print JSON: the inputs, the runs and the digest after each
    #[arg(long, conflicts_with = "explain")]
    json: bool,

    /// Write what is launched to a new directory, a file a run of pages
    #[arg(long, value_name = "DIR")]
    pages: Option<PathBuf>,
}

/// Prints the digest.
pub(super) fn run(args: &MeasureArgs) -> Result<u8, CommandError> {
    if let Some(out) = &args.pages {
        pod::write_pages(&args.pod, out)?;
    }
    let measurement = pod::of_pod(&args.pod)?;
    if args.json {
        let text = serde_json::to_string_pretty(&measurement).map_err(CommandError::Json)?;
        output::print(&format!("{}\n", output::visible(&text, "\n")))?;
    } else if args.explain {
        output::print(&explained(&measurement))?;
    } else {
        output::print(&format!("{}\n", measurement.digest))?;
    }
    Ok(0)
}

/// A line a run, and what stands behind the names.
fn explained(measurement: &Measurement) -> String {
    let mut rows =
        vec![["GPA", "PAGES", "KIND", "NAME", "SHA-256", "DIGEST SO FAR", "DEPENDS ON"].map(str::to_owned)];
    for run in &measurement.runs {
        rows.push([
            format!("{:#x}", run.gpa),
            run.pages.to_string(),
            run.kind.clone(),
            run.name.clone(),
            run.sha256.as_deref().map_or("not measured".to_owned(), begin),
            begin(&run.digest),
            run.depends_on.clone(),
        ]);
    }
    let inputs = &measurement.inputs;
    let files = [
        ("kernel", &inputs.kernel),
        ("initramfs", &inputs.initramfs),
        ("launch.json", &inputs.launch),
        ("stub", &inputs.stub),
    ];
    let mut text = output::aligned(&rows);
    text.push('\n');
    for (name, file) in files {
        text.push_str(&format!("{name:<13} {} bytes, SHA-256 {}\n", file.size, file.sha256));
    }
    text.push_str(&format!("command line  {}\n", output::visible(&inputs.command_line, "")));
    text.push_str(&format!("machine       {} MiB, {} vCPUs\n\n", inputs.memory_mib, inputs.vcpus));
    text.push_str(&format!("host data     {}\n", measurement.host_data));
    text.push_str(&format!("of release    {}\n", measurement.stable_digest));
    text.push_str(&format!("measurement   {}\n", measurement.digest));
    text
}

/// Enough of a hash to compare by eye.
fn begin(digest: &str) -> String {
    digest.chars().take(16).collect()
}

//! `cradle-attest`: the commands of `kcradle attest` in a program of its own, for machines that run no pods.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use attest::command::{self, AttestCommand};
use clap::Parser;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "cradle-attest",
    version,
    about = "Judges AMD SEV-SNP attestation reports of cradle's pods and of others",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: AttestCommand,
}

fn main() -> ExitCode {
    match command::run(&Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cradle-attest: {}", command::line(&error));
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

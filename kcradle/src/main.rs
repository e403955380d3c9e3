//! `kcradle`: summons container images into pod directories and runs them in microVMs.
#![forbid(unsafe_code)]

mod api;
mod attach;
mod check;
mod cli;
mod clock;
mod cp;
mod duration;
mod exec;
mod failure;
mod hint;
mod home;
mod image_commands;
mod inspect;
mod logs;
mod ls;
mod network;
mod progress;
mod ps;
mod rm;
mod run;
mod serve;
mod share;
mod size;
mod stats;
mod stdout;
mod stop;
mod summon;
mod table;
mod throttle;
mod top;
mod volume;

use std::process::ExitCode;
use std::time::Instant;

use attest::command::AttestCommand;
use clap::{CommandFactory as _, Parser as _};

use cli::{Cli, Command, RunCli};
use failure::Failure;

/// The exit code of arguments that are not understood.
const CODE_USAGE: u8 = 2;

fn main() -> ExitCode {
    let origin = Instant::now();
    if std::env::args_os().nth(1).is_some_and(|command| command == share::VERB) {
        return finish(share::run());
    }
    if std::env::args_os().nth(1).is_some_and(|command| command == net::keeper::VERB) {
        return finish(network::keep());
    }
    let parsed = match is_run() {
        true => RunCli::try_parse_from(std::env::args_os().skip(1)).map(|run| Command::Run(run.args)),
        false => Cli::try_parse().map(|cli| cli.command),
    };
    let command = match parsed {
        Ok(command) => command,
        Err(error) => return usage(&error),
    };
    finish(dispatch(command, origin))
}

fn finish(done: Result<u8, Failure>) -> ExitCode {
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit_code())
        }
    }
}

fn is_run() -> bool {
    std::env::args_os().nth(1).is_some_and(|command| command == "run")
}

/// Prints help, or what is wrong with the arguments. Of `run` every failure of its own is 125, as Docker counts.
fn usage(error: &clap::Error) -> ExitCode {
    // Where standard output is closed, nobody reads it.
    let _ = error.print();
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if is_run() => ExitCode::from(failure::CODE_RUN_FAILED),
        _ => ExitCode::from(CODE_USAGE),
    }
}

/// Runs a command and answers the process's exit code; `origin` is when the program began.
fn dispatch(command: Command, origin: Instant) -> Result<u8, Failure> {
    match command {
        Command::Summon(args) => summon::run(&args),
        Command::Run(args) => run::run(&args, origin),
        Command::Serve(args) => serve::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Ps(args) => ps::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Attach(args) => attach::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::Cp(args) => cp::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Throttle(args) => throttle::run(&args),
        Command::Stop(args) => stop::run(&args),
        Command::Rm(args) => rm::run(&args),
        Command::Image(command) => image_commands::run(&command),
        Command::Network(command) => network::run(&command),
        Command::Volume(command) => volume::run(&command),
        Command::Attest(command) => attest(&command),
        Command::Check(args) => check::run(&args),
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "kcradle", &mut script);
            stdout::text(format_args!("{}", String::from_utf8_lossy(&script)));
            Ok(0)
        }
    }
}

/// The commands of attestation, which are a program of their own as well.
fn attest(command: &AttestCommand) -> Result<u8, Failure> {
    attest::command::run(command).map_err(|error| {
        let (hint, code) = (error.hint(), error.exit_code());
        let failure = Failure::from(anyhow::Error::from(error)).code(code);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

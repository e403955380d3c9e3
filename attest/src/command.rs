//! The commands of `kcradle attest` and of `cradle-attest`, which is the same for machines that run no pods.

mod diff;
mod input;
mod measure;
mod output;
mod pod;
mod verify;

use clap::Subcommand;

pub use diff::DiffArgs;
pub use input::InputError;
pub use measure::MeasureArgs;
pub use pod::PodError;
pub use verify::VerifyArgs;

/// The exit code where a file cannot be read or a result not be written.
pub const CODE_FAILED: u8 = 1;

/// What can be done about attestation.
#[derive(Debug, Subcommand)]
pub enum AttestCommand {
    /// Judge a report: who signed it, what was launched, for whom, and whether the policy allows it
    Verify(Box<VerifyArgs>),
    /// Compute the launch digest of a pod, and say what it is made of
    Measure(MeasureArgs),
    /// Say why the launch digests of two pods differ
    Diff(DiffArgs),
}

/// Why a command gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// An argument or file that cannot be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A pod that cannot be measured.
    #[error(transparent)]
    Pod(#[from] PodError),
    /// The answer has nowhere to go.
    #[error("cannot write to standard output")]
    Write(#[source] std::io::Error),
    /// The answer cannot be JSON.
    #[error("cannot write the answer as JSON")]
    Json(#[source] serde_json::Error),
}

impl CommandError {
    /// What the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Input(error) => error.hint(),
            Self::Pod(error) => error.hint(),
            Self::Write(_) | Self::Json(_) => None,
        }
    }

    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input(error) => error.exit_code(),
            Self::Pod(_) | Self::Write(_) | Self::Json(_) => CODE_FAILED,
        }
    }
}

/// Runs a command and answers the process's exit code.
///
/// # Errors
/// A command that gave no answer. A report that is refused is an answer.
pub fn run(command: &AttestCommand) -> Result<u8, CommandError> {
    match command {
        AttestCommand::Verify(args) => verify::run(args),
        AttestCommand::Measure(args) => measure::run(args),
        AttestCommand::Diff(args) => diff::run(args),
    }
}

/// An error's chain on one line, control characters made visible.
#[must_use]
pub fn line(error: &dyn std::error::Error) -> String {
    output::visible(&crate::cause::chain(error), "")
}

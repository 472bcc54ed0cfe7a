//! Parses a command line into an intent without a cluster. Tests use it to compare the commands
//! shown in a question with the intent that the question sends.

use clap::Parser;
use color_eyre::eyre::Report;

use super::{Cli, Command};
use crate::domain::{intent::Intent, release_intents::Unresolved, world::World};

/// A command line has no intent.
#[derive(Debug, thiserror::Error)]
pub enum IntentParseError {
    /// It is no command line of graylane.
    #[error("{0}")]
    Usage(clap::Error),
    /// Its options contradict each other, or what is there.
    #[error("{0}")]
    Command(Report),
    /// It names a release that is not there.
    #[error("there is no release {0}")]
    NoRelease(String),
    /// It does not apply to the release.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// It asks for nothing to be changed.
    #[error("this command changes nothing")]
    NoIntent,
}

/// The intent of a command line (without the program name), given `world`. Versions of seen objects
/// are left out.
pub fn parse_intent(words: &[String], world: &World, by: &str) -> Result<Intent, IntentParseError> {
    let line = std::iter::once("graylane").chain(words.iter().map(String::as_str));
    let cli = Cli::try_parse_from(line).map_err(IntentParseError::Usage)?;
    match cli.command {
        Some(Command::Release(args)) => args.into_intent().map_err(IntentParseError::Command),
        Some(Command::Wish(command)) => command.into_intent(world),
        Some(Command::StopTheLine) => Ok(Intent::StopTheLine),
        Some(Command::Teardown(args)) => Ok(args.into_intent()),
        Some(Command::Lock(args)) => Ok(args.into_intent(by)),
        Some(Command::Unlock(args)) => Ok(args.into_intent()),
        Some(Command::Lane(args)) => args.into_intent(world),
        _ => Err(IntentParseError::NoIntent),
    }
}

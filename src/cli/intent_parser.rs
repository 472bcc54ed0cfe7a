//! Parses a command line into an intent without a cluster. Tests use it to compare the commands
//! shown in a question with the intent that the question sends.

use clap::Parser;

use super::{Cli, Command};
use crate::domain::{intent::Intent, world::World};

/// The intent of a command line (without the program name), given `world`. Versions of seen objects
/// are left out.
///
/// # Errors
///
/// The command line is invalid or has no intent.
pub fn parse_intent(words: &[String], world: &World, by: &str) -> Result<Intent, String> {
    let line = std::iter::once("graylane").chain(words.iter().map(String::as_str));
    let cli = Cli::try_parse_from(line).map_err(|e| e.to_string())?;
    match cli.command {
        Some(Command::Release(args)) => args.into_intent().map_err(|e| e.to_string()),
        Some(Command::Wish(command)) => command.into_intent(world),
        Some(Command::StopTheLine) => Ok(Intent::StopTheLine),
        Some(Command::Teardown(args)) => Ok(args.into_intent()),
        Some(Command::Lock(args)) => Ok(args.into_intent(by)),
        Some(Command::Unlock(args)) => Ok(args.into_intent()),
        Some(Command::Lane(args)) => args.into_intent(world),
        _ => Err(format!("{words:?} is not an intent")),
    }
}

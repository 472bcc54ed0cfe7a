//! What a command line would wish, without a cluster to wish it of: so that a test can hold the commands that a question
//! shows against what the question itself sends.

use clap::Parser;

use super::{Cli, Command};
use crate::domain::{intent::Intent, world::World};

/// The wish of a command line (without the program's name) about a world as it is seen; what was seen of an object is
/// left out.
///
/// # Errors
///
/// In words, when the command line is refused or wishes nothing.
pub fn intent(words: &[String], world: &World, by: &str) -> Result<Intent, String> {
    let line = std::iter::once("graylane").chain(words.iter().map(String::as_str));
    let cli = Cli::try_parse_from(line).map_err(|e| e.to_string())?;
    match cli.command {
        Some(Command::Release(args)) => args.intent().map_err(|e| e.to_string()),
        Some(Command::Wish(command)) => command.intent(world),
        Some(Command::StopTheLine) => Ok(Intent::StopTheLine),
        Some(Command::Teardown(args)) => Ok(args.intent()),
        Some(Command::Lock(args)) => Ok(args.intent(by)),
        Some(Command::Unlock(args)) => Ok(args.intent()),
        Some(Command::Lane(args)) => args.intent(world),
        _ => Err(format!("{words:?} wishes nothing")),
    }
}

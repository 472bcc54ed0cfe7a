//! Commands that pocket starts the current program with, to run the processes of containers.

use std::{
    ffi::{OsStr, OsString},
    process::ExitCode,
};

use crate::{guard, shim};

/// Such a command. The program's `main` runs it before it does anything else: what it would do
/// first, it would do in every container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalCommand {
    /// Runs the process of a container and ends what it leaves.
    Shim,
    /// Becomes the process of a container.
    Exec,
    /// Ends the containers of a pocket that was killed.
    Guard,
}

impl InternalCommand {
    /// The command of this name, which is the program's first argument.
    pub fn from_name(name: &OsStr) -> Option<Self> {
        [
            (shim::SUBCOMMAND, Self::Shim),
            (shim::EXEC_SUBCOMMAND, Self::Exec),
            (guard::SUBCOMMAND, Self::Guard),
        ]
        .into_iter()
        .find_map(|(is, command)| (name == is).then_some(command))
    }

    /// Runs it with the arguments that follow its name, and returns the program's exit code.
    pub fn run(self, args: impl Iterator<Item = OsString>) -> ExitCode {
        match self {
            Self::Shim => shim::main(args),
            Self::Exec => shim::exec_command(args),
            Self::Guard => guard::main(args),
        }
    }
}

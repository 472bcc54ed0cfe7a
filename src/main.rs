//! Starts the command line; all code is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    graylane::cli::main()
}

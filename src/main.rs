//! Parse, call; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    graylane::cli::main()
}

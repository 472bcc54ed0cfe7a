//! The cockpit, on the cluster that was asked for.

use color_eyre::eyre::{Result, bail};

use super::Global;
use crate::demo::run::Demo;

/// Until the screen is part of the program, what stands for it is told.
const NONE: &str = "this build has no screen; `graylane demo --headless` runs the demo, and every command of \
                    `graylane --help` works on it";

pub(super) async fn run(_: &Global) -> Result<()> {
    bail!(NONE)
}

pub(super) async fn with_demo(_: &Global, _: &Demo) -> Result<()> {
    bail!(NONE)
}

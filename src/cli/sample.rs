//! `sample a|b|c|load`: the container processes of the demo.

use clap::Args;
use color_eyre::eyre::Result;

use crate::sample;

#[derive(Debug, Args)]
pub struct SampleArgs {
    /// a, b, c or load
    which: String,
}

pub(super) async fn run(args: SampleArgs) -> Result<()> {
    sample::run(&args.which).await
}

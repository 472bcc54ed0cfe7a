//! `sample a|b|c|load`: the container processes of the demo.

use clap::Args;
use color_eyre::eyre::Result;

use crate::sample;

#[derive(Debug, Args)]
pub struct SampleArgs {
    /// a, b, c or load
    which: String,
}

pub(super) async fn run_sample(args: SampleArgs) -> Result<()> {
    sample::run_sample(&args.which).await
}

//! The sample services A, B and C of the public demo (`mse-simple-demo`) and a light load on them,
//! run by a hidden subcommand in containers. A returns `A{tag}[{ip}][config=..] -> ` and the
//! response of B.

mod config;
mod fault;
mod load;
mod next;
mod serve;

use std::sync::Arc;

use color_eyre::eyre::{Result, bail};

pub use config::Config;
pub use serve::serve;

/// Runs `a`, `b`, `c` or `load`, configured by the environment, until SIGTERM or SIGINT.
pub async fn run_sample(which: &str) -> Result<()> {
    let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let stop = serve::on_signal()?;
    match which {
        "a" | "b" | "c" => serve(Arc::new(Config::from_env(which, &env)?), stop).await,
        "load" => load::run_load(load::Load::from_env(&env)?, stop).await,
        other => bail!("there is no sample {other:?}: a, b, c or load"),
    }
}

//! `doctor`: whether the cluster is fit for graylane, each with what to do. Exit code 1 when something fails.

use clap::Args;
use color_eyre::eyre::{Result, bail};

use super::{
    Global,
    output::{self, Format},
    session,
};
use crate::cluster::doctor::{self, Level};

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// How to print what was found
    #[arg(long, short, default_value = "table")]
    output: Format,
}

pub(super) async fn run(global: &Global, args: DoctorArgs) -> Result<()> {
    let session = session::open(global).await?;
    let found = doctor::look(&session.client, &session.namespace).await;
    match args.output {
        Format::Json | Format::Yaml => output::print(&output::data(&found, args.output)?)?,
        Format::Name => output::print(&found.iter().map(|f| format!("{}\n", f.check)).collect::<String>())?,
        Format::Table | Format::Wide => {
            let width = found.iter().map(|f| f.check.len()).max().unwrap_or_default();
            let mut text = String::new();
            for finding in &found {
                let word = match finding.level {
                    Level::Ok => "ok  ",
                    Level::Warn => "warn",
                    Level::Fail => "FAIL",
                };
                text += &format!("{word}  {:width$}  {}\n", finding.check, finding.found);
                if let Some(remedy) = &finding.remedy {
                    text += &format!("      {:width$}  -> {remedy}\n", "");
                }
            }
            output::print(&text)?;
        }
    }
    let failed = found.iter().filter(|f| f.level == Level::Fail).count();
    if failed > 0 {
        bail!("{failed} of {} checks failed", found.len());
    }
    Ok(())
}

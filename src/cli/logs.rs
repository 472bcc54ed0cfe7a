//! `logs POD`: a pod's log, cleaned, so that nothing in it can move the cursor.

use clap::Args;
use color_eyre::eyre::Result;
use futures::TryStreamExt;

use super::{Global, output, session};
use crate::cluster::logs::{self, LogWish};

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The pod, or NAMESPACE/POD
    pod: String,
    /// Which of its containers
    #[arg(long, short)]
    container: Option<String>,
    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,
    /// Of the run before the last restart
    #[arg(long, short)]
    previous: bool,
    /// Only the last lines
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
}

pub(super) async fn run(global: &Global, args: LogsArgs) -> Result<()> {
    let session = session::open(global).await?;
    let (namespace, pod) = args.pod.split_once('/').unwrap_or((&session.namespace, &args.pod));
    let wish = LogWish { container: args.container, follow: args.follow, previous: args.previous, tail: args.tail };
    let lines = logs::read(&session.client, namespace, pod, &wish)
        .await
        .map_err(session::told(format!("logs of {}", args.pod)))?;
    let mut lines = std::pin::pin!(lines);
    while let Some(line) = lines.try_next().await? {
        output::print(&format!("{line}\n"))?;
    }
    Ok(())
}

//! `logs POD`: a pod's log, cleaned, so that nothing in it can move the cursor.

use clap::Args;
use color_eyre::eyre::Result;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::{
    Global, output,
    places::{self, Place},
    session::{self, Session},
};
use crate::cluster::{
    error,
    logs::{self, LogWish},
};

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The pod, or NAMESPACE/POD, or CONTEXT/NAMESPACE/POD [default: wherever an environment has a pod of that name]
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
    let (place, pod) = places::said(&session, &args.pod);
    let place = match place {
        Some(place) => place,
        None => find(&session, pod).await?,
    };
    let wish = LogWish { container: args.container, follow: args.follow, previous: args.previous, tail: args.tail };
    let lines = logs::read(&place.client(&session), &place.namespace, pod, &wish)
        .await
        .map_err(session::told(format!("logs of {}", args.pod)))?;
    let mut lines = std::pin::pin!(lines);
    while let Some(line) = lines.try_next().await? {
        output::print(&format!("{line}\n"))?;
    }
    Ok(())
}

/// Where the pod runs: ours, or the first of an environment's; ours when nobody has it, whose server says so.
async fn find(session: &Session, pod: &str) -> Result<Place> {
    let places = places::all(session).await?;
    for place in &places {
        let pods: Api<Pod> = Api::namespaced(place.client(session), &place.namespace);
        match pods.get_metadata_opt(pod).await {
            Ok(Some(_)) => return Ok(place.clone()),
            Ok(None) => {}
            // Not to be seen here is told by the log itself; a cluster that is away hides nobody else's pods.
            Err(e) if place.context.is_none() && place.namespace == session.namespace => {
                if error::code(&e) != Some(403) {
                    return Err(session::told(format!("logs of {pod}"))(e));
                }
            }
            Err(e) => eprintln!("warning: not looked for: {}: {}", place.full(pod), error::words(&e)),
        }
    }
    Ok(places.into_iter().next().unwrap_or(Place { context: None, namespace: session.namespace.clone() }))
}

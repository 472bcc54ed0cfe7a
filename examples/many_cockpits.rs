//! What many open cockpits ask of one API server: each has watches and a counter of its own, as a cockpit has.
//!
//! `many_cockpits N SECONDS [CONTEXT]`: opens N of them by kubectl's files, waits until all are live, then counts for so
//! many seconds while nobody presses a key. What it costs the server, see there (`ps -o time= -C kube-apiserver`).

use std::time::Duration;

use graylane::{
    cluster::{
        agent::Agent,
        connect::{ClusterSource, prepare_client},
        watch,
    },
    domain::world::Link,
};
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(number), Some(seconds)) = (args.first(), args.get(1)) else {
        return Err("usage: many_cockpits N SECONDS [CONTEXT]".into());
    };
    let (number, seconds): (usize, u64) = (number.parse()?, seconds.parse()?);
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "there is a TLS provider already")?;
    let stop = CancellationToken::new();
    let mut all = vec![];
    for _ in 0..number {
        let connected = prepare_client(
            &ClusterSource::Kubectl {
                kubeconfig: None,
                context: args.get(2).cloned(),
            },
            None,
            Agent::Cockpit,
        )?;
        all.push((
            watch::spawn(
                connected.clusters.clone(),
                connected.namespace.clone(),
                stop.clone(),
            ),
            connected,
        ));
    }
    for (worlds, _) in &mut all {
        worlds.wait_for(|w| w.link == Link::Live).await?;
    }
    let asked = || {
        all.iter()
            .map(|(_, c)| c.clusters.meter().request_stats())
            .map(|a| (a.total, a.throttled))
    };
    let sum = || asked().fold((0, 0), |(t, r), (total, refused)| (t + total, r + refused));
    let (start, _) = sum();
    println!("{number} cockpits are live after {start} requests");
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (end, refused) = sum();
    println!(
        "{} requests in {seconds} s, {refused} answers 429",
        end - start
    );
    Ok(())
}

//! Pods come and go under load, and no request is lost.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use graylane::sample::{Config, serve};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio_util::sync::CancellationToken;

use super::rig::{Rig, Upstream};
use crate::ports::free;

/// A sample service as a pod: it ends as real ones do.
struct Pod {
    upstream: Upstream,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<color_eyre::Result<()>>,
}

async fn pod(name: &str) -> Pod {
    let address = free();
    let vars = HashMap::from([
        ("PORT", address.port().to_string()),
        ("LAMEDUCK_MS", "30".into()),
    ]);
    let config = Arc::new(Config::from_env("c", &|name| vars.get(name).cloned()).unwrap());
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(config, stop.clone()));
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
    Pod {
        upstream: Upstream::at(name, address),
        stop,
        task,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_pods_come_and_go() {
    let mut rig = Rig::new();
    let mut old = pod("pod-0").await;
    let address = rig.service("c", &[(&old.upstream, None)]);
    rig.apply();
    let (done, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let caller = || {
        let (done, asked) = (done.clone(), asked.clone());
        tokio::spawn(async move {
            let client: Client<_, Empty<Bytes>> =
                Client::builder(TokioExecutor::new()).build_http();
            let mut failed = vec![];
            while !done.load(SeqCst) {
                let answer = client
                    .get(format!("http://{address}/c").parse().unwrap())
                    .await;
                asked.fetch_add(1, SeqCst);
                match answer {
                    Err(e) => failed.push(e.to_string()),
                    Ok(answer) => {
                        let status = answer.status();
                        let body = answer.into_body().collect().await.map(|b| b.to_bytes());
                        if !status.is_success() || body.is_err() {
                            failed.push(format!("{status} {body:?}"));
                        }
                    }
                }
            }
            failed
        })
    };
    let callers: Vec<_> = (0..8).map(|_| caller()).collect();
    for i in 1..=12 {
        let new = pod(&format!("pod-{i}")).await;
        rig.replace("c", &[(&old.upstream, None), (&new.upstream, None)]);
        rig.apply();
        let before = asked.load(SeqCst);
        while asked.load(SeqCst) < before + 50 {
            tokio::task::yield_now().await;
        }
        // Half of the times the pod ends before anybody knows.
        if i % 2 == 0 {
            old.stop.cancel();
            old.task.await.unwrap().unwrap();
            rig.replace("c", &[(&new.upstream, None)]);
            rig.apply();
        } else {
            rig.replace("c", &[(&new.upstream, None)]);
            rig.apply();
            old.stop.cancel();
            old.task.await.unwrap().unwrap();
        }
        old = new;
    }
    done.store(true, SeqCst);
    let failed: Vec<String> = futures::future::join_all(callers)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    assert_eq!(failed, [""; 0], "of {}", asked.load(SeqCst));
    assert!(asked.load(SeqCst) >= 600);
}

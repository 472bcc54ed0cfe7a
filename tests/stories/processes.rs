//! Whoever is killed, in whichever order, and whatever its children do: no process of a pod outlives its shim, its pod
//! or its pocket, and no pod waits without end.

use std::{collections::BTreeMap, path::Path};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use pocket::{controllers::pods::is_ready, images::Manifest};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use serde_json::json;
use tokio::process::Child;

use crate::support::{
    processes::{Process, below},
    program::{self, until},
};

/// Every way in which a process can try to get away; each writes what it is, and its number.
const FAMILY: &str = r#"
trap '' TERM
here() { echo "$1 $2" >> "$FAMILY"; }
( trap '' TERM; exec sh -c 'echo deaf $$ >> "$FAMILY"; while :; do sleep 1; done' ) &
setsid sh -c 'echo session $$ >> "$FAMILY"; exec sleep 1000' &
( setsid sh -c 'echo double $$ >> "$FAMILY"; exec sleep 1000' & )
sh -c 'echo quiet $$ >> "$FAMILY"; exec sleep 1000 <&- >&- 2>&-' &
env -i PATH="$PATH" FAMILY="$FAMILY" sh -c 'echo bare $$ >> "$FAMILY"; exec sleep 1000' &
sh -c 'echo stopped $$ >> "$FAMILY"; kill -STOP $$; exec sleep 1000' &
here main $$
while :; do sleep 0.05; done
"#;
const KINDS: usize = 7;

type Family = BTreeMap<String, Process>;

struct Pocket {
    child: Child,
    client: Client,
}

impl Pocket {
    async fn start(state: &Path) -> Self {
        let (child, client) = program::serving(
            program::command(state, "captain").args(["pocket", "serve"]),
            state,
        )
        .await;
        let entrypoint = ["sh", "-c", FAMILY].map(String::from).to_vec();
        graylane::embedded::open_images(state)
            .unwrap()
            .define(
                "family:v1",
                &Manifest {
                    entrypoint,
                    ..Manifest::default()
                },
            )
            .unwrap();
        Self { child, client }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// A pod with the whole family, as soon as all are there.
    async fn pod(&self, state: &Path, name: &str) -> Family {
        let pod = json!({"metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [
            {"name": "c", "image": "family:v1", "env": [{"name": "FAMILY", "value": file(state, name)}]}]}});
        self.pods()
            .create(
                &PostParams::default(),
                &serde_json::from_value(pod).unwrap(),
            )
            .await
            .unwrap();
        family(state, name).await
    }

    async fn guard(&self) -> Process {
        let own = self.child.id().unwrap();
        until("a guard", async || {
            below(own)
                .into_iter()
                .find(|p| p.words().contains("__guard"))
        })
        .await
    }
}

fn file(state: &Path, name: &str) -> std::path::PathBuf {
    state.join(format!("logs/{name}.family"))
}

/// The newest run's.
async fn family(state: &Path, name: &str) -> Family {
    until("the whole family", async || {
        let text = std::fs::read_to_string(file(state, name)).ok()?;
        let lines: Vec<(&str, u32)> = text
            .lines()
            .filter_map(|l| {
                l.split_once(' ')
                    .and_then(|(k, n)| Some((k, n.parse().ok()?)))
            })
            .collect();
        let found: Family = lines
            .iter()
            .rev()
            .take(KINDS)
            .filter_map(|(k, n)| Some(((*k).to_owned(), Process::of(*n)?)))
            .collect();
        (found.len() == KINDS).then_some(found)
    })
    .await
}

fn shim(family: &Family) -> Process {
    Process::of(family["main"].parent()).expect("a shim")
}

/// One after the other, without a pause.
fn send(signal: Signal, victims: &[&Process]) {
    for victim in victims {
        match kill_process(
            Pid::from_raw(victim.pid().try_into().unwrap()).unwrap(),
            signal,
        ) {
            // The one before may have taken it along.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(why) => panic!("{victim:?}: {why}"),
        }
    }
}

async fn gone<'a>(case: &str, processes: impl IntoIterator<Item = &'a Process>) {
    for process in processes {
        until(&format!("{case}: {process:?} gone"), async || {
            (!process.is_there()).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_pocket_lives_a_killed_container_is_cleared_and_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let pocket = Pocket::start(state).await;
    for case in [
        "shim",
        "main",
        "shim-main",
        "main-shim",
        "guard-shim",
        "stopped-shim",
    ] {
        let first = pocket.pod(state, case).await;
        let (shim, guard) = (shim(&first), pocket.guard().await);
        match case {
            "shim" => send(Signal::KILL, &[&shim]),
            "main" => send(Signal::KILL, &[&first["main"]]),
            "shim-main" => send(Signal::KILL, &[&shim, &first["main"]]),
            "main-shim" => send(Signal::KILL, &[&first["main"], &shim]),
            "guard-shim" => send(Signal::KILL, &[&guard, &shim]),
            _ => send(Signal::STOP, &[&shim]),
        }
        if case != "stopped-shim" {
            gone(case, first.values().chain([&shim])).await;
            until("it runs again", async || {
                let pod = pocket.pods().get(case).await.unwrap();
                let again = pod.status.as_ref()?.container_statuses.as_ref()?[0].restart_count >= 1;
                (again && is_ready(&pod)).then_some(())
            })
            .await;
        }
        let last = family(state, case).await;
        pocket
            .pods()
            .delete(case, &DeleteParams::default())
            .await
            .unwrap();
        until("the object goes", async || {
            pocket
                .pods()
                .get_opt(case)
                .await
                .unwrap()
                .is_none()
                .then_some(())
        })
        .await;
        // The object went last.
        assert_eq!(
            last.values().filter(|p| p.is_there()).collect::<Vec<_>>(),
            Vec::<&Process>::new(),
            "{case}"
        );
    }
    let guard = pocket.guard().await;
    let mut child = pocket.child;
    send(Signal::TERM, &[&Process::of(child.id().unwrap()).unwrap()]);
    assert!(
        tokio::time::timeout(program::LIMIT, child.wait())
            .await
            .expect("ends")
            .unwrap()
            .success()
    );
    gone("a clean end", [&guard]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_killed_pocket_whoever_is_killed_with_it() {
    for case in [
        "pocket",
        "pocket-shim",
        "shim-pocket",
        "pocket-main",
        "pocket-guard",
        "stopped-shim",
        "stopped-all",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut pocket = Pocket::start(dir.path()).await;
        let family = pocket.pod(dir.path(), "p").await;
        let (shim, guard, own) = (
            shim(&family),
            pocket.guard().await,
            Process::of(pocket.child.id().unwrap()).unwrap(),
        );
        match case {
            "pocket" => send(Signal::KILL, &[&own]),
            "pocket-shim" => send(Signal::KILL, &[&own, &shim]),
            "shim-pocket" => send(Signal::KILL, &[&shim, &own]),
            "pocket-main" => send(Signal::KILL, &[&own, &family["main"]]),
            "pocket-guard" => send(Signal::KILL, &[&own, &guard]),
            "stopped-shim" => {
                send(Signal::STOP, &[&shim]);
                send(Signal::KILL, &[&own]);
            }
            _ => {
                send(
                    Signal::STOP,
                    &family.values().chain([&shim]).collect::<Vec<_>>(),
                );
                send(Signal::KILL, &[&own]);
            }
        }
        gone(case, family.values().chain([&shim, &guard])).await;
        pocket.child.wait().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_three_left_is_ended_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let mut pocket = Pocket::start(state).await;
    let mut family = pocket.pod(state, "p").await;
    let (shim, guard, own) = (
        shim(&family),
        pocket.guard().await,
        Process::of(pocket.child.id().unwrap()).unwrap(),
    );
    // Stopped, a guard does not see its pocket's end.
    send(Signal::STOP, &[&guard]);
    send(Signal::KILL, &[&own, &shim]);
    pocket.child.wait().await.unwrap();
    gone("the kernel ends it with its shim", [&family["main"]]).await;
    // Nothing tells any more whose child this is: docs/pocket.md says so.
    let bare = family.remove("bare").unwrap();
    assert!(
        family
            .iter()
            .filter(|(kind, _)| *kind != "main")
            .all(|(_, p)| p.is_there()),
        "{family:?}"
    );
    let again = Pocket::start(state).await;
    gone("the next start", family.values().chain([&guard])).await;
    send(Signal::KILL, &[&bare]);
    until("it runs again", async || {
        is_ready(&again.pods().get("p").await.unwrap()).then_some(())
    })
    .await;
}

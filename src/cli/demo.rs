//! `demo [--headless] [--reset]`: runs pocket, engine and sample workspace in the state folder.

use std::path::{Path, PathBuf};

use clap::Args;
use color_eyre::eyre::{Result, bail};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use super::{Global, engine, logging, output, pocket};
use crate::{
    cluster::{
        agent::Agent,
        connect::{self, Source},
        lease::ENGINE_LEASE,
    },
    demo::{
        run::{Demo, DemoError, Progress},
        seed, state,
    },
    pocket::run::Pocket,
    ui::terminal,
};

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Without a screen, until SIGTERM; prints `ready` when production serves
    #[arg(long)]
    headless: bool,
    /// Forget everything and start over
    #[arg(long)]
    reset: bool,
}

pub(super) async fn run(global: &Global, args: DemoArgs) -> Result<()> {
    if !args.headless {
        // Check the terminal before starting anything.
        terminal::can_draw()?;
    }
    let dir = pocket::dir(global)?;
    if args.reset {
        let free = !dir.join("store.redb").exists() || Pocket::is_free(&dir).await;
        state::reset(&dir, |_| free)?;
    }
    let dir = state::open(&dir)?;
    state::make_private(&dir)?;
    let ended = pocket::ended()?;
    let _log = logging::start(&dir)?;
    let started = Demo::start(&dir, |client, stop| {
        engine::until(client, seed::NAMESPACE.into(), stop)
    })
    .await;
    let demo = match started {
        Err(DemoError::Pocket(why)) if why.is_running_elsewhere() => {
            return elsewhere(global, &dir, args.headless).await;
        }
        started => started?,
    };
    let done = if args.headless {
        let serving = headless(&demo);
        tokio::select! {
            () = ended => Ok(()),
            failed = serving => failed,
        }
    } else {
        super::cockpit::with_demo(global, &dir, &demo).await
    };
    if done.is_ok() && !args.headless {
        output::say("ending the demo and its pods");
    }
    demo.stop().await;
    if done.is_ok() && !args.headless {
        output::say("the demo and its pods have ended; `graylane demo` goes on where they were");
    }
    done
}

/// Reports progress; returns only on failure.
async fn headless(demo: &Demo) -> Result<()> {
    let mut progress = demo.progress();
    loop {
        let now = progress.borrow_and_update().clone();
        match now {
            Progress::Starting => {}
            Progress::Seeding(step) => output::say(&step),
            Progress::Seeded => output::say("waiting for the entry to answer"),
            Progress::Blocked(why) => say!("the entry cannot answer: {why}"),
            Progress::Serving => output::print("ready\n")?,
            Progress::Failed(why) => bail!(why),
        }
        if progress.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Handles a state folder whose pocket another graylane process runs.
async fn elsewhere(global: &Global, dir: &Path, headless: bool) -> Result<()> {
    if !headless {
        return super::cockpit::run(global).await;
    }
    bail!(
        "{} runs the pocket of {} already",
        holder(dir.to_owned()).await,
        dir.display()
    )
}

/// Who runs the pocket, as far as known.
async fn holder(dir: PathBuf) -> String {
    let known = async {
        let connected = connect::connect(&Source::State(dir), None, Agent::Cli)
            .await
            .ok()?;
        let leases: Api<Lease> = Api::namespaced(connected.client, seed::NAMESPACE);
        let lease = leases.get_opt(ENGINE_LEASE).await.ok()??;
        lease.spec?.holder_identity
    };
    known.await.map_or_else(
        || "another graylane".into(),
        |holder| format!("another graylane ({holder})"),
    )
}

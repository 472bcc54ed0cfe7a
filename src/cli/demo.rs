//! `demo [--headless] [--reset]`: runs pocket, engine and sample workspace in the state folder.

use std::path::{Path, PathBuf};

use ::pocket::run::Pocket;
use clap::Args;
use color_eyre::eyre::{Result, bail};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use super::{
    Global, engine,
    logging::{self, LogTarget},
    output, pocket, shutdown,
};
use crate::{
    cluster::{
        agent::Agent,
        connect::{self, ClusterSource},
        lease::ENGINE_LEASE,
    },
    demo::{
        run::{Demo, DemoError, Progress},
        seed, state,
    },
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

pub(super) async fn run_demo(global: &Global, args: DemoArgs) -> Result<()> {
    if !args.headless {
        // Check the terminal before starting anything.
        terminal::check_terminal()?;
    }
    let dir = pocket::state_dir(global)?;
    if args.reset {
        let free = !dir.join("store.redb").exists() || Pocket::is_free(&dir).await;
        state::reset(&dir, |_| free)?;
    }
    let dir = state::open(&dir)?;
    state::make_private(&dir)?;
    let ended = shutdown::shutdown_signal()?;
    let _log = logging::start_logging(&global.logging, LogTarget::Folder(&dir))?;
    let started = Demo::start(&dir, |client, stop| {
        engine::run_engine_until(client, seed::NAMESPACE.into(), stop)
    })
    .await;
    let demo = match started {
        Err(DemoError::Pocket(why)) if why.is_running_elsewhere() => {
            return join_running_demo(global, &dir, args.headless).await;
        }
        started => started?,
    };
    let done = if args.headless {
        let serving = run_headless(&demo);
        tokio::select! {
            () = ended => Ok(()),
            failed = serving => failed,
        }
    } else {
        super::cockpit::run_with_demo(global, &dir, &demo).await
    };
    if done.is_ok() && !args.headless {
        output::say("ending the demo and its pods");
    }
    demo.stop().await;
    if done.is_ok() && !args.headless {
        output::say("the demo and its pods have ended; `graylane demo` continues where they were");
    }
    done
}

/// Reports progress; returns only on failure.
async fn run_headless(demo: &Demo) -> Result<()> {
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
async fn join_running_demo(global: &Global, dir: &Path, headless: bool) -> Result<()> {
    if !headless {
        return super::cockpit::open_cockpit(global).await;
    }
    bail!(
        "{} runs the pocket of {} already",
        find_holder(dir.to_owned()).await,
        dir.display()
    )
}

/// Who runs the pocket, as far as known.
async fn find_holder(dir: PathBuf) -> String {
    let known = async {
        let connected = connect::connect(&ClusterSource::State(dir), None, Agent::Cli)
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

//! `lock APP --environment NAME --reason TEXT`, `unlock APP --environment NAME`.

use clap::Args;
use color_eyre::eyre::Result;
use kube::ResourceExt;

use super::{Global, get, output::Format, session};
use crate::{
    api::{App, EnvironmentLock},
    domain::intent::{Intent, Seen},
};

#[derive(Debug, Args)]
pub struct LockArgs {
    /// The App
    app: String,
    /// The environment
    #[arg(long, short, value_name = "NAME")]
    environment: String,
    /// Shown to whoever is refused
    #[arg(long, short, default_value = "")]
    reason: String,
    /// How to print what was done
    #[arg(long, short, default_value = "table")]
    output: Format,
}

#[derive(Debug, Args)]
pub struct UnlockArgs {
    /// The App
    app: String,
    /// The environment
    #[arg(long, short, value_name = "NAME")]
    environment: String,
    /// How to print what was done
    #[arg(long, short, default_value = "table")]
    output: Format,
}

pub(super) async fn lock(global: &Global, args: LockArgs) -> Result<()> {
    let session = session::open(global).await?;
    let lock = EnvironmentLock { by: session.by.clone(), reason: args.reason };
    set(&session, args.app, args.environment, Some(lock), args.output).await
}

pub(super) async fn unlock(global: &Global, args: UnlockArgs) -> Result<()> {
    let session = session::open(global).await?;
    set(&session, args.app, args.environment, None, args.output).await
}

async fn set(
    session: &session::Session,
    app: String,
    environment: String,
    lock: Option<EnvironmentLock>,
    output: Format,
) -> Result<()> {
    let found: App = get::one(session, &app).await?;
    let seen = Some(Seen { uid: found.uid().unwrap_or_default(), version: None, meaning: None });
    session.perform(Intent::Lock { app, environment, seen, lock }, output).await.map(drop)
}

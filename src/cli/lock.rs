//! `lock APP --environment NAME --reason TEXT`, `unlock APP --environment NAME`.

use clap::Args;
use color_eyre::eyre::Result;

use super::{Global, objects, output::Format, session};
use crate::{
    api::{App, EnvironmentLock, Uid},
    domain::intent::{Intent, SeenObject},
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

impl LockArgs {
    /// The intent of this command.
    pub(super) fn into_intent(self, by: &str) -> Intent {
        let lock = EnvironmentLock {
            by: by.to_owned(),
            reason: self.reason,
        };
        Intent::Lock {
            app: self.app,
            environment: self.environment,
            seen: None,
            lock: Some(lock),
        }
    }
}

impl UnlockArgs {
    /// The intent of this command.
    pub(super) fn into_intent(self) -> Intent {
        Intent::Lock {
            app: self.app,
            environment: self.environment,
            seen: None,
            lock: None,
        }
    }
}

pub(super) async fn lock_environment(global: &Global, args: LockArgs) -> Result<()> {
    let session = session::open(global).await?;
    let output = args.output;
    let intent = args.into_intent(&session.by);
    send_lock(&session, intent, output).await
}

pub(super) async fn unlock_environment(global: &Global, args: UnlockArgs) -> Result<()> {
    let session = session::open(global).await?;
    let output = args.output;
    send_lock(&session, args.into_intent(), output).await
}

async fn send_lock(session: &session::Session, mut intent: Intent, output: Format) -> Result<()> {
    if let Intent::Lock { app, seen, .. } = &mut intent {
        let found: App = objects::get_object(session, app).await?;
        *seen = Some(SeenObject {
            uid: Uid::from_meta(&found.metadata),
            version: None,
            state: None,
        });
    }
    session.perform(intent, output).await.map(drop)
}

//! `teardown APP --environment gray`: deletes an App's objects in an environment after its name was
//! typed.

use std::{
    io::{BufRead, IsTerminal, Write},
    time::Duration,
};

use clap::Args;
use color_eyre::eyre::{Result, bail};

use super::{
    Global, objects,
    output::Format,
    release::wait,
    session::{self, usage_error},
};
use crate::{
    api::{App, ObjectRef, ReleasePhase},
    domain::intent::Intent,
};

#[derive(Debug, Args)]
pub struct TeardownArgs {
    /// The App
    app: String,
    /// The environment
    #[arg(long, short, value_name = "NAME")]
    environment: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Do not wait until it is down
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting after
    #[arg(long, default_value = "5m", value_parser = wait::parse_duration)]
    timeout: Duration,
    /// Why
    #[arg(long, short)]
    comment: Option<String>,
    /// How to print what was done
    #[arg(long, short, default_value = "table")]
    output: Format,
}

impl TeardownArgs {
    /// The intent of this command.
    pub(super) fn into_intent(self) -> Intent {
        Intent::Teardown {
            app: self.app,
            environment: self.environment,
            comment: self.comment,
        }
    }
}

pub(super) async fn tear_down_environment(global: &Global, args: TeardownArgs) -> Result<()> {
    let session = session::open(global).await?;
    let app: App = objects::get_object(&session, &args.app).await?;
    if app.left_behind(&args.environment).is_none() {
        objects::find_environment(&app, &args.environment)?;
    }
    if !args.yes {
        confirm_teardown(&app, &args)?;
    }
    let (output, no_wait, timeout) = (args.output, args.no_wait, args.timeout);
    let done = session.perform(args.into_intent(), output).await?;
    for release in done.release_names().filter(|_| !no_wait) {
        wait::wait_for_phase(&session, release, ReleasePhase::Succeeded, timeout).await?;
    }
    Ok(())
}

/// Shows what will be deleted and asks for the environment's name.
fn confirm_teardown(app: &App, args: &TeardownArgs) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(usage_error(format!(
            "tearing {}/{} down needs --yes when nobody can be asked",
            args.app, args.environment
        )));
    }
    let status = app
        .status
        .as_ref()
        .and_then(|s| s.environments.get(&args.environment))
        .cloned()
        .unwrap_or_default();
    say!("This deletes of {} in {}:", args.app, args.environment);
    for item in &status.inventory {
        let ObjectRef { kind, key, .. } = &item.object;
        say!("  {kind} {}/{}", key.namespace, key.name);
    }
    eprint!("Type the environment's name to go on: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() != args.environment {
        bail!(
            "nothing was deleted: {:?} is not {:?}",
            answer.trim(),
            args.environment
        );
    }
    Ok(())
}

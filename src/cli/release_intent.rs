//! `approve|refuse|proceed|pause|resume|abort|retry|skip NAME`: intents about a release under way.
//!
//! Without `--task`, the task that waits (or failed) is used. If there are several, they are listed
//! and nothing is done.

use std::time::Duration;

use clap::{Args, Subcommand};
use color_eyre::eyre::Result;
use kube::{Api, api::ListParams, runtime::wait::await_condition};

use super::{
    Global,
    intent_parser::IntentParseError,
    objects,
    session::{self, Session, api_error, usage_error},
};
use crate::{
    api::{Approval, Release, Uid},
    domain::{
        intent::{Intent, ReleaseIntent, SeenObject},
        release_intents::{Unresolved, Verb, is_followed, resolve_verb},
        world::World,
    },
};

/// Time that an engine gets to follow an earlier intent.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Subcommand)]
pub enum ReleaseIntentCommand {
    /// Approve a task that waits for approval
    Approve(ReleaseIntentArgs),
    /// Refuse a task that waits for approval
    Refuse(ReleaseIntentArgs),
    /// Let the next batch, or a waiting task, proceed
    Proceed(ReleaseIntentArgs),
    /// Pause a release where it is
    Pause(ReleaseIntentArgs),
    /// Resume a paused release
    Resume(ReleaseIntentArgs),
    /// Roll a release back and end it
    Abort(ReleaseIntentArgs),
    /// Try a failed task again
    Retry(ReleaseIntentArgs),
    /// Skip a task that failed or waits
    Skip(ReleaseIntentArgs),
}

#[derive(Clone, Debug, Default, Args)]
pub struct ReleaseIntentArgs {
    /// The release
    name: String,
    /// The task [default: the one that waits]
    #[arg(long)]
    task: Option<String>,
    /// For proceed: the last batch that may go [default: the next one]
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// For retry: take over the fields of other managers that the apply conflicted with
    #[arg(long)]
    force_conflicts: bool,
    /// For approve and refuse: show what the task lets through, as a change of what runs, and
    /// decide nothing
    #[arg(long)]
    dry_run: bool,
    /// For approve and refuse: only if the objects to apply have this digest, which --dry-run and
    /// `release show` print
    #[arg(long, value_name = "SHA256")]
    digest: Option<String>,
    /// Why
    #[arg(long, short)]
    comment: Option<String>,
    /// How to print what was done
    #[arg(long, short, default_value = "table")]
    output: super::output::Format,
}

impl ReleaseIntentCommand {
    fn args(&self) -> &ReleaseIntentArgs {
        match self {
            Self::Approve(a) | Self::Refuse(a) | Self::Proceed(a) | Self::Pause(a) => a,
            Self::Resume(a) | Self::Abort(a) | Self::Retry(a) | Self::Skip(a) => a,
        }
    }

    fn verb(&self) -> Verb {
        match self {
            Self::Approve(_) => Verb::Approve,
            Self::Refuse(_) => Verb::Refuse,
            Self::Proceed(args) => Verb::Proceed(args.batch),
            Self::Pause(_) => Verb::Pause,
            Self::Resume(_) => Verb::Resume,
            Self::Abort(_) => Verb::Abort,
            Self::Retry(args) => Verb::Retry(args.force_conflicts),
            Self::Skip(_) => Verb::Skip,
        }
    }

    /// The intent of this command, given the release in `world`.
    pub(super) fn into_intent(self, world: &World) -> Result<Intent, IntentParseError> {
        let args = self.args().clone();
        let release = world
            .releases
            .get(&args.name)
            .ok_or_else(|| IntentParseError::NoRelease(args.name.clone()))?;
        let mut wish = resolve_verb(release, self.verb(), args.task.as_deref())?;
        if let ReleaseIntent::Decide(decision) = &mut wish {
            decision.digest = args.digest;
        }
        Ok(Intent::Release {
            name: args.name,
            seen: None,
            wish,
            comment: args.comment,
        })
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Approve(_) => "approve",
            Self::Refuse(_) => "refuse",
            Self::Proceed(_) => "proceed",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Abort(_) => "abort",
            Self::Retry(_) => "retry",
            Self::Skip(_) => "skip",
        }
    }
}

pub(super) async fn send_intent(global: &Global, command: ReleaseIntentCommand) -> Result<()> {
    let args = command.args().clone();
    if args.batch.is_some() && !matches!(command, ReleaseIntentCommand::Proceed(_)) {
        return Err(usage_error(format!(
            "--batch goes with proceed, not with {}",
            command.as_str()
        )));
    }
    if args.force_conflicts && !matches!(command, ReleaseIntentCommand::Retry(_)) {
        return Err(usage_error(format!(
            "--force-conflicts goes with retry, not with {}",
            command.as_str()
        )));
    }
    let decides = matches!(
        command,
        ReleaseIntentCommand::Approve(_) | ReleaseIntentCommand::Refuse(_)
    );
    for (given, option) in [
        (args.dry_run, "--dry-run"),
        (args.digest.is_some(), "--digest"),
    ] {
        if given && !decides {
            return Err(usage_error(format!(
                "{option} goes with approve and refuse, not with {}",
                command.as_str()
            )));
        }
    }
    let session = session::open(global).await?;
    let (release, mut wish) = resolve_intent(&session, &command).await?;
    if let ReleaseIntent::Decide(decision) = &mut wish {
        if args.dry_run {
            let shown =
                super::proposal::describe_proposal(&session, &release, Some(&decision.task)).await;
            return super::output::print(&shown?.1);
        }
        decision.digest.clone_from(&args.digest);
    }
    // Bound to the uid that was read, so that a namesake created meanwhile is not affected.
    let seen = SeenObject {
        uid: Uid::from_meta(&release.metadata),
        version: None,
        state: None,
    };
    let intent = Intent::Release {
        name: args.name,
        seen: Some(seen),
        wish,
        comment: args.comment,
    };
    session.perform(intent, args.output).await.map(drop)
}

/// The release and the intent for it. If the intent does not apply yet because of an earlier intent
/// or decision, it is resolved again when the engine has followed that.
async fn resolve_intent(
    session: &Session,
    command: &ReleaseIntentCommand,
) -> Result<(Release, ReleaseIntent)> {
    let args = command.args();
    let release: Release = objects::get_object(session, &args.name).await?;
    match resolve_verb(&release, command.verb(), args.task.as_deref()) {
        Ok(wish) => return Ok((release, wish)),
        Err(Unresolved::None { .. }) => {}
        Err(why) => return Err(why.into()),
    }
    let approvals: Api<Approval> = Api::namespaced(session.client.clone(), &session.namespace);
    // A user who may not list approvals gets the answer for the current state.
    let approvals = approvals
        .list(&ListParams::default())
        .await
        .map(|list| list.items)
        .unwrap_or_default();
    let api: Api<Release> = Api::namespaced(session.client.clone(), &session.namespace);
    let is_followed = move |r: Option<&Release>| r.is_none_or(|r| is_followed(r, &approvals));
    let follows = await_condition(api.clone(), &args.name, is_followed);
    // If no engine responds in time, the current state is used.
    drop(tokio::time::timeout(ENGINE_TIMEOUT, follows).await);
    let release = api
        .get(&args.name)
        .await
        .map_err(api_error(format!("reading {}", args.name)))?;
    let wish = resolve_verb(&release, command.verb(), args.task.as_deref())?;
    Ok((release, wish))
}

//! `lane set|get|enable|disable|delete|explain`.

mod explain;

use clap::{Args, Subcommand};
use color_eyre::eyre::{Result, bail};
use kube::{Api, ResourceExt};

use super::{
    Global, get,
    intent_parser::IntentParseError,
    objects,
    output::{self, Format},
    session::{self, Session, usage_error},
};
use crate::{
    api::{App, ClusterName, Lane, LaneGroup, LaneSpec, OnLoss, Uid},
    cluster::perform::{self, LaneFindings},
    domain::{
        intent::{Intent, SeenObject},
        lanes::{Severity, text},
        world::World,
    },
};

#[derive(Debug, Args)]
pub struct LaneArgs {
    #[command(subcommand)]
    command: LaneCommand,
}

#[derive(Debug, Subcommand)]
enum LaneCommand {
    /// Create a lane, or change the fields that are given
    Set(Box<SetArgs>),
    /// Show lanes
    Get(NamedOptional),
    /// Enable a lane: it takes the requests that match its rule
    Enable(Named),
    /// Disable a lane: it takes no requests
    Disable(Named),
    /// Delete a lane
    Delete(Named),
    /// Say which lane takes a request, and why
    Explain(explain::ExplainArgs),
}

#[derive(Debug, Args)]
struct Named {
    /// The lane
    name: String,
    /// How to print what was done
    #[arg(long, short, default_value = "table")]
    output: Format,
}

#[derive(Debug, Args)]
struct NamedOptional {
    /// Only this lane
    name: Option<String>,
    /// How to print it
    #[arg(long, short, default_value = "table")]
    output: Format,
}

#[derive(Debug, Args)]
struct SetArgs {
    /// The lane
    name: String,
    /// Its lane group [default: the only one]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// The tag that its requests carry [default: the lane's name]
    #[arg(long)]
    tag: Option<String>,
    /// A condition that must hold, as 'parameter group == gray'; may be repeated, all must hold
    #[arg(long = "when", visible_alias = "all", value_name = "CONDITION")]
    all: Vec<String>,
    /// A condition of which one must hold, as 'cookie uid in 1,2'; may be repeated
    #[arg(long, value_name = "CONDITION")]
    any: Vec<String>,
    /// Only paths under this prefix; may be repeated
    #[arg(long, value_name = "PREFIX")]
    path: Vec<String>,
    /// Instead of conditions: this share of all requests, in percent
    #[arg(long, value_name = "PERCENT", conflicts_with_all = ["all", "any", "path"])]
    share: Option<f64>,
    /// Lanes with low numbers are tried first
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    priority: Option<i32>,
    /// Whether it takes requests [default for a new lane: true]
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Whether a fallback to the baseline is a leak
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    strict: Option<bool>,
    /// What happens when an App loses its last gray pod
    #[arg(long, value_name = "WHAT")]
    on_loss: Option<Loss>,
    /// Check only
    #[arg(long)]
    dry_run: bool,
    /// How to print what was done
    #[arg(long, short, default_value = "table")]
    output: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Loss {
    /// The baseline serves that app
    FallBack,
    /// Tagged requests fail
    Hold,
    /// Tagged requests take the baseline everywhere
    Close,
}

impl LaneArgs {
    pub(super) const fn is_list(&self) -> bool {
        matches!(self.command, LaneCommand::Get(_))
    }
}

pub(super) async fn run_lane_command(global: &Global, args: LaneArgs) -> Result<()> {
    match args.command {
        LaneCommand::Set(args) => save_lane(&session::open(global).await?, *args).await,
        LaneCommand::Get(args) => {
            get::print_objects(global, get::GetArgs::for_lanes(args.name, args.output)).await
        }
        LaneCommand::Enable(args) => set_enabled(global, args, true).await,
        LaneCommand::Disable(args) => set_enabled(global, args, false).await,
        LaneCommand::Delete(args) => {
            let session = session::open(global).await?;
            let lane: Lane = objects::get_object(&session, &args.name).await?;
            let intent = Intent::DeleteLane {
                name: args.name,
                seen: Some(seen_by_uid(&lane)),
            };
            session.perform(intent, args.output).await.map(drop)
        }
        LaneCommand::Explain(args) => {
            explain::explain_request(&session::open(global).await?, args).await
        }
    }
}

impl LaneArgs {
    /// The intent of this command, given the lanes in `world`.
    pub(super) fn into_intent(self, world: &World) -> Result<Intent, IntentParseError> {
        let enable = |name, enabled| {
            Ok(Intent::EnableLane {
                name,
                seen: None,
                enabled,
            })
        };
        match self.command {
            LaneCommand::Set(args) => {
                let old = world.lanes.get(&args.name).map(|l| l.spec.clone());
                let groups: Vec<LaneGroup> = world.groups.values().map(|g| (**g).clone()).collect();
                let spec =
                    merge_spec(&args, old.as_ref(), &groups).map_err(IntentParseError::Command)?;
                Ok(Intent::SetLane {
                    name: args.name,
                    seen: None,
                    spec,
                })
            }
            LaneCommand::Enable(args) => enable(args.name, true),
            LaneCommand::Disable(args) => enable(args.name, false),
            LaneCommand::Delete(args) => Ok(Intent::DeleteLane {
                name: args.name,
                seen: None,
            }),
            LaneCommand::Get(_) | LaneCommand::Explain(_) => Err(IntentParseError::NoIntent),
        }
    }
}

/// Identifies this lane at the version that was read: neither a namesake nor a later version.
fn seen_at_version(lane: &Lane) -> SeenObject {
    SeenObject {
        uid: Uid::from_meta(&lane.metadata),
        version: lane.resource_version(),
        state: None,
    }
}

/// Identifies this lane by uid, at any version.
fn seen_by_uid(lane: &Lane) -> SeenObject {
    SeenObject {
        uid: Uid::from_meta(&lane.metadata),
        version: None,
        state: None,
    }
}

async fn set_enabled(global: &Global, args: Named, enabled: bool) -> Result<()> {
    let session = session::open(global).await?;
    let lane: Lane = objects::get_object(&session, &args.name).await?;
    let intent = Intent::EnableLane {
        name: args.name,
        seen: Some(seen_by_uid(&lane)),
        enabled,
    };
    session.perform(intent, args.output).await.map(drop)
}

async fn save_lane(session: &Session, args: SetArgs) -> Result<()> {
    let api: Api<Lane> = Api::namespaced(session.client.clone(), &session.namespace);
    let old = api
        .get_opt(&args.name)
        .await
        .map_err(session::api_error(format!("reading lane {}", args.name)))?;
    let groups: Vec<LaneGroup> = objects::list_objects(session).await?;
    let spec = merge_spec(&args, old.as_ref().map(|l| &l.spec), &groups)?;
    let away = |cluster: &ClusterName| !session.clusters.is_home(cluster);
    let LaneFindings {
        problems,
        unchecked,
    } = perform::check_lane(
        &session.client,
        &session.namespace,
        &args.name,
        &spec,
        Some(&away),
    )
    .await?;
    if let Some(why) = unchecked {
        let why = objects::describe_listing::<App>(session) + ": " + &why;
        say!("warning: whether this lane leads to another cluster cannot be checked: {why}");
    }
    let (errors, warnings): (Vec<_>, Vec<_>) =
        problems.iter().partition(|p| p.severity == Severity::Error);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    if !errors.is_empty() {
        bail!("lane {} was not saved\n{}", args.name, errors.join("\n"));
    }
    warnings.iter().for_each(|w| say!("warning: {w}"));
    if args.dry_run {
        return output::print(&output::format_value(&spec, args.output)?);
    }
    let intent = Intent::SetLane {
        name: args.name,
        seen: old.as_ref().map(seen_at_version),
        spec,
    };
    session.perform(intent, args.output).await.map(drop)
}

/// The old spec with the options of the command line applied.
fn merge_spec(args: &SetArgs, old: Option<&LaneSpec>, groups: &[LaneGroup]) -> Result<LaneSpec> {
    let mut spec = old.cloned().unwrap_or_else(|| LaneSpec {
        enabled: true,
        tag: args.name.clone(),
        ..LaneSpec::default()
    });
    if let Some(group) = &args.group {
        spec.group.clone_from(group);
    } else if spec.group.is_empty() {
        let known: Vec<String> = groups.iter().map(ResourceExt::name_any).collect();
        let [one] = known.as_slice() else {
            return Err(usage_error(format!(
                "which lane group? Name it with --group; there {}",
                objects::describe_names(&known)
            )));
        };
        spec.group.clone_from(one);
    }
    if let Some(tag) = &args.tag {
        spec.tag.clone_from(tag);
    }
    let read = |texts: &[String]| -> Result<Vec<_>> {
        texts
            .iter()
            .map(|t| text::parse_condition(t).map_err(|e| usage_error(e.to_string())))
            .collect()
    };
    // Conditions replace the old ones as a whole: merging both would give a rule that nobody asked
    // for.
    if !(args.all.is_empty() && args.any.is_empty() && args.path.is_empty()) {
        spec.rule.all = read(&args.all)?;
        spec.rule.any = read(&args.any)?;
        spec.rule.paths.clone_from(&args.path);
        spec.share = None;
    }
    if let Some(share) = args.share {
        spec.rule = crate::api::LaneMatch::default();
        spec.share = Some(share);
    }
    spec.priority = args.priority.unwrap_or(spec.priority);
    spec.enabled = args.enabled.unwrap_or(spec.enabled);
    spec.strict = args.strict.unwrap_or(spec.strict);
    if let Some(loss) = args.on_loss {
        spec.on_loss = match loss {
            Loss::FallBack => OnLoss::FallBack,
            Loss::Hold => OnLoss::Hold,
            Loss::Close => OnLoss::Close,
        };
    }
    if spec.rule.is_empty() && spec.share.is_none() && old.is_none() {
        return Err(usage_error(
            "which requests? Name them with --when 'parameter group == gray', --any, --path or --share",
        ));
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use kube::core::ObjectMeta;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: SetArgs,
    }

    fn args(words: &[&str]) -> SetArgs {
        Line::try_parse_from([&["set", "gray"], words].concat())
            .unwrap()
            .args
    }

    fn group() -> Vec<LaneGroup> {
        vec![LaneGroup {
            metadata: ObjectMeta {
                name: Some("g".into()),
                ..ObjectMeta::default()
            },
            ..LaneGroup::default()
        }]
    }

    #[test]
    fn a_new_lane_takes_the_only_group_its_own_name_as_tag_and_is_enabled() {
        let spec = merge_spec(
            &args(&["--when", "parameter group == gray"]),
            None,
            &group(),
        )
        .unwrap();
        assert_eq!(
            (spec.group.as_str(), spec.tag.as_str(), spec.enabled),
            ("g", "gray", true)
        );
        assert_eq!(spec.rule.all[0].to_string(), "parameter group == gray");
        let told = merge_spec(&args(&["--priority", "-1"]), None, &group())
            .unwrap_err()
            .to_string();
        assert!(told.contains("which requests?"), "{told}");
        let told = merge_spec(&args(&["--share", "5"]), None, &[])
            .unwrap_err()
            .to_string();
        assert!(told.contains("which lane group?"), "{told}");
        let told = merge_spec(&args(&["--when", "body x == 1"]), None, &group())
            .unwrap_err()
            .to_string();
        assert!(told.contains("body x == 1"), "{told}");
    }

    #[test]
    fn what_is_not_named_stays_and_conditions_change_as_a_whole() {
        let old = merge_spec(
            &args(&[
                "--when",
                "header a exists",
                "--any",
                "cookie b exists",
                "--strict",
            ]),
            None,
            &group(),
        )
        .unwrap();
        let same = merge_spec(&args(&["--priority", "7"]), Some(&old), &[]).unwrap();
        assert_eq!(
            same,
            LaneSpec {
                priority: 7,
                ..old.clone()
            }
        );
        let new = merge_spec(&args(&["--path", "/A"]), Some(&old), &[]).unwrap();
        assert_eq!(
            (
                new.rule.all.len(),
                new.rule.any.len(),
                new.rule.paths.len(),
                new.strict
            ),
            (0, 0, 1, true)
        );
        let share = merge_spec(&args(&["--share", "12.5"]), Some(&old), &[]).unwrap();
        assert!(share.rule.is_empty() && share.share == Some(12.5));
    }
}

//! The arguments of the program.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[cfg(feature = "cockpit")]
use super::keys;
use super::{
    adopt, app, apply, completions, doctor, engine, get, init, install, lane, lock,
    logging::LogOptions, logs, man, probe, release, release_intent, render, rescue, signals,
    teardown, trace, variables, via::ViaArg,
};
#[cfg(feature = "pocket")]
use super::{demo, pocket, sample};
#[cfg(feature = "cockpit")]
use crate::ui::theme::Depth;

/// A terminal cockpit for end-to-end gray releases.
#[derive(Debug, Parser)]
#[command(
    name = "graylane",
    version,
    max_term_width = 100,
    subcommand_help_heading = "Commands"
)]
#[command(
    after_help = "With no command: the cockpit, on the cluster that --state or --context names.\n\
    Start here: `graylane demo`."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// `demo`, `engine` and `pocket serve` log also without `--log`.
    pub(super) fn logs_by_itself(&self) -> bool {
        match &self.command {
            Some(Command::Engine(_)) => true,
            #[cfg(feature = "pocket")]
            Some(Command::Demo(_)) => true,
            #[cfg(feature = "pocket")]
            Some(Command::Pocket(args)) => args.is_serve(),
            None | Some(_) => false,
        }
    }

    /// Whether the command can show all namespaces at once.
    pub(super) const fn takes_all_namespaces(&self) -> bool {
        match &self.command {
            None | Some(Command::Get(_)) => true,
            #[cfg(feature = "pocket")]
            Some(Command::Demo(_)) => true,
            Some(Command::Release(args)) => args.is_list(),
            Some(Command::Lane(args)) => args.is_list(),
            Some(_) => false,
        }
    }
}

/// For every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The state folder of the pocket to use [default: $GRAYLANE_STATE, else graylane/demo in
    /// the XDG state folder]
    #[arg(long, global = true, value_name = "DIR", conflicts_with_all = ["context", "kubeconfig"])]
    pub state: Option<PathBuf>,
    /// Use a real cluster: a context of kubectl's files
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Use a real cluster: this file instead of $KUBECONFIG
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of graylane's resources [default: the context's]
    #[arg(long, short, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// All namespaces at once, for the cockpit and for `get`, `release list` and `lane get`
    #[arg(long, short = 'A', global = true, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Who acts, in approvals and histories [default: $GRAYLANE_USER, else you]
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// The configuration file [default: graylane/config.toml in the XDG configuration folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How probes reach the entry: entry, straight to its address; proxy, through the API server;
    /// or proxy=NAMESPACE/SERVICE:PORT [default: entry]
    #[arg(long, global = true, value_name = "WAY")]
    pub via: Option<ViaArg>,
    #[cfg(feature = "cockpit")]
    #[command(flatten)]
    pub look: CockpitOptions,
    #[command(flatten)]
    pub logging: LogOptions,
}

/// How the cockpit looks and behaves.
#[cfg(feature = "cockpit")]
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cockpit options")]
pub struct CockpitOptions {
    /// default, light, contrast, mono, NAME of themes/NAME.toml beside the configuration, or a path
    #[arg(long, global = true, value_name = "NAME")]
    pub theme: Option<String>,
    /// Colours to use: true, 256, 16 or mono [default: what the terminal says; NO_COLOR is mono]
    #[arg(long, global = true, value_name = "DEPTH")]
    pub color: Option<Depth>,
    /// Draw with ASCII signs only [default: when the locale is not UTF-8]
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Start read-only: no key changes anything; stays so until it is started without this option
    #[arg(long, global = true)]
    pub read_only: bool,
    /// Use the mouse: clicks select, open and answer; the terminal's own selection then needs Shift
    #[arg(long, global = true)]
    pub mouse: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start here: a cockpit on an embedded cluster with a sample workspace
    #[cfg(feature = "pocket")]
    Demo(demo::DemoArgs),
    /// Carry out the releases of the cluster that is named, without a screen
    Engine(engine::EngineArgs),
    /// Install what graylane needs in a cluster: resource definitions, roles, admission policies,
    /// the engine
    Install(install::InstallArgs),
    /// Write a first App, with comments: of a Deployment that runs, a Helm chart, a Kustomize
    /// folder or rendered YAML
    Init(init::InitArgs),
    /// Check a cluster (version, rights, definitions, policies, gateways, engine), and say what to
    /// do
    Doctor(doctor::DoctorArgs),
    /// Remove from a cluster what `install` made
    Uninstall(install::UninstallArgs),
    /// Show apps, templates, variable groups, environments, releases, lanes, lane groups or
    /// approvals
    Get(get::GetArgs),
    /// Start, show or list releases, or wait for one
    Release(release::ReleaseArgs),
    #[command(flatten)]
    Wish(release_intent::ReleaseIntentCommand),
    /// Pause every running release
    StopTheLine,
    /// Send requests to the entry and show the chains they took
    Probe(probe::ProbeArgs),
    /// Show how each version of an App answers: rate, failures, latencies
    Signals(signals::SignalsArgs),
    /// Show requests as they come, each with the chain it took
    Trace(trace::TraceArgs),
    /// Run a sample service
    #[cfg(feature = "pocket")]
    #[command(hide = true)]
    Sample(sample::SampleArgs),
    /// Show, set, enable, disable, delete and explain lanes
    Lane(lane::LaneArgs),
    /// Take down what an App runs in an environment
    Teardown(teardown::TeardownArgs),
    /// Find Deployments and StatefulSets that a rollout left half-way; finish them, or bring back
    /// the old version
    Rescue(rescue::RescueArgs),
    /// Lock an environment: no release deploys to it or cleans it
    Lock(lock::LockArgs),
    /// Unlock an environment
    Unlock(lock::UnlockArgs),
    /// Print an App's manifests as they would be applied to an environment
    Render(render::RenderArgs),
    /// Make Apps from a template, or show how an App differs from its template
    App(app::AppArgs),
    /// Show what an App's manifests read as .Values, and where each value comes from
    Variables(variables::VariablesArgs),
    /// Make an App of a Deployment that already runs; optionally with a gray version beside it
    Adopt(adopt::AdoptArgs),
    /// Create or change objects from files; all errors are reported at once, with file and line
    Apply(apply::ApplyArgs),
    /// Show a pod's log
    Logs(logs::LogsArgs),
    /// Run the embedded cluster by itself, or print its kubeconfig
    #[cfg(feature = "pocket")]
    Pocket(pocket::PocketArgs),
    /// Print the cockpit's keys
    #[cfg(feature = "cockpit")]
    Keys(keys::KeysArgs),
    /// Print a manual page, or write those of all commands to a folder
    Man(man::ManArgs),
    /// Print a completion script
    Completions(completions::CompletionsArgs),
}

//! The command line, one file per command group. Everything that the keyboard does can also be done
//! here.
//!
//! Results go to stdout, everything else to stderr. The exit code is 0 when the request succeeded,
//! 1 when it failed, and 2 on a usage error or when two responses or versions could not be
//! compared.

/// Prints a formatted message for people on stderr.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::cli::output::say(&format!($($words)*))
    };
}

mod adopt;
mod app;
mod apply;
mod args;
#[cfg(feature = "cockpit")]
mod cockpit;
mod completions;
#[cfg(feature = "pocket")]
mod demo;
mod doctor;
mod engine;
mod get;
mod hop_collector;
mod init;
mod install;
mod intent_parser;
#[cfg(feature = "cockpit")]
mod keys;
mod lane;
mod lock;
mod logging;
mod logs;
mod man;
mod namespace_ref;
mod new_app_args;
mod objects;
mod output;
#[cfg(feature = "pocket")]
mod pocket;
mod probe;
mod proposal;
mod release;
mod release_intent;
mod render;
mod rescue;
#[cfg(feature = "pocket")]
mod sample;
mod session;
mod shutdown;
mod signals;
mod tables;
mod teardown;
mod trace;
mod variables;
mod via;
mod world_watch;

use std::{
    ffi::{OsStr, OsString},
    process::ExitCode,
};

#[cfg(feature = "pocket")]
use ::pocket::{InternalCommand, inherited::InheritedLimits};
use clap::{CommandFactory, Parser, error::ErrorKind};
use color_eyre::eyre::{Report, Result};

pub use args::{Cli, Command, Global};
pub use intent_parser::{IntentParseError, parse_intent};
use logging::LogTarget;

use crate::{
    cluster::{plugin, transport},
    domain::intent::Intent,
};

/// Runs the program.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Processes of containers start here: this must come before anything else.
    let first = args.next();
    if let Some(done) = run_internal_command(first.as_deref(), args) {
        return done;
    }
    malloc_settings::limit_kept_memory();
    let parsed = Cli::try_parse();
    #[cfg(feature = "pocket")]
    InheritedLimits::change_process();
    if let Ok(program) = std::env::current_exe() {
        transport::detach_plugins(program);
    }
    let cli = match parsed {
        Ok(cli) => cli,
        Err(told) => return print_usage(&told),
    };
    // Fails only when hooks are installed already, which is fine.
    let _ = color_eyre::install();
    handle_panics();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(why) => return report_failure(&Report::msg(format!("no threads: {why}"))),
    };
    let done = runtime.block_on(dispatch_command(cli));
    // A task that hangs (a name lookup, a dead disk) must not delay the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => report_failure(&report),
    }
}

/// Runs a command that this program starts itself with.
fn run_internal_command(
    first: Option<&OsStr>,
    args: impl Iterator<Item = OsString>,
) -> Option<ExitCode> {
    let first = first?;
    if first == plugin::NAME {
        return Some(plugin::main(args));
    }
    #[cfg(feature = "pocket")]
    return InternalCommand::from_name(first).map(|command| command.run(args));
    #[cfg(not(feature = "pocket"))]
    None
}

/// Prints help, or what is wrong with the command line.
fn print_usage(told: &clap::Error) -> ExitCode {
    let ok = matches!(
        told.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    let _ = told.print();
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    }
}

/// A release build does not unwind (`profile.release` in Cargo.toml): there this hook reports a
/// panic and ends the program. What the store makes an error of is told as one.
fn handle_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        #[cfg(feature = "pocket")]
        if let Some(damage) = ::pocket::store::damage_behind_panic(info) {
            if cfg!(panic = "abort") {
                report_failure(&Report::new(damage));
                std::process::exit(1);
            }
            return;
        }
        report(info);
        if cfg!(panic = "abort") {
            // The code of a Rust program whose main thread has panicked.
            std::process::exit(101);
        }
    }));
}

async fn dispatch_command(cli: Cli) -> Result<()> {
    // Those that run a cluster or an engine know where they log by themselves.
    let _log = if cli.logs_by_itself() {
        None
    } else {
        let target = if cli.command.is_none() {
            LogTarget::Screen
        } else {
            LogTarget::Off
        };
        Some(logging::start_logging(&cli.global.logging, target)?)
    };
    if cli.global.all_namespaces && !cli.takes_all_namespaces() {
        let words = "this command is about one namespace: name it with -n; -A is for the cockpit, \
            `get`, `release list` and `lane get`";
        return Err(session::usage_error(words));
    }
    let global = cli.global;
    match cli.command {
        #[cfg(feature = "cockpit")]
        None => cockpit::open_cockpit(&global).await,
        #[cfg(not(feature = "cockpit"))]
        None => Err(session::usage_error(
            "this build of graylane has no cockpit; name a command (`graylane help` lists them)",
        )),
        #[cfg(feature = "pocket")]
        Some(Command::Demo(args)) => demo::run_demo(&global, args).await,
        Some(Command::Engine(args)) => engine::run_engine(&global, args).await,
        Some(Command::Doctor(args)) => doctor::check_cluster(&global, args).await,
        Some(Command::Init(args)) => init::write_first_app(&global, args).await,
        Some(Command::Install(args)) => install::install(&global, args).await,
        Some(Command::Uninstall(args)) => install::uninstall(&global, args).await,
        Some(Command::Get(args)) => get::print_objects(&global, args).await,
        Some(Command::Release(args)) => release::run_release_command(&global, args).await,
        Some(Command::Render(args)) => render::render_manifests(&global, args).await,
        Some(Command::Adopt(args)) => adopt::adopt_workload(&global, args).await,
        Some(Command::App(args)) => app::run_app_command(&global, args).await,
        Some(Command::Variables(args)) => variables::print_variables(&global, args).await,
        Some(Command::Apply(args)) => apply::apply_files(&global, args).await,
        Some(Command::Wish(command)) => release_intent::send_intent(&global, command).await,
        Some(Command::StopTheLine) => {
            let session = session::open(&global).await?;
            session
                .perform(Intent::StopTheLine, output::Format::Table)
                .await
                .map(drop)
        }
        #[cfg(feature = "pocket")]
        Some(Command::Pocket(args)) => pocket::run_pocket_command(&global, args).await,
        Some(Command::Probe(args)) => probe::send_and_print(&global, args).await,
        Some(Command::Signals(args)) => signals::watch_signals(&global, args).await,
        Some(Command::Trace(args)) => trace::trace_requests(&global, args).await,
        #[cfg(feature = "pocket")]
        Some(Command::Sample(args)) => sample::run_sample(args).await,
        Some(Command::Lane(args)) => lane::run_lane_command(&global, args).await,
        Some(Command::Teardown(args)) => teardown::tear_down_environment(&global, args).await,
        Some(Command::Rescue(args)) => rescue::rescue_workloads(&global, args).await,
        Some(Command::Lock(args)) => lock::lock_environment(&global, args).await,
        Some(Command::Unlock(args)) => lock::unlock_environment(&global, args).await,
        Some(Command::Logs(args)) => logs::print_logs(&global, args).await,
        #[cfg(feature = "cockpit")]
        Some(Command::Keys(args)) => keys::print_keys(&global, &args),
        Some(Command::Man(args)) => man::write_pages(&args, Cli::command()),
        Some(Command::Completions(args)) => {
            completions::print_completions(&args, &mut Cli::command())
        }
    }
}

/// The error and its causes, each once: the text of some errors already contains their cause.
fn format_error_chain(report: &Report) -> String {
    let mut told = String::new();
    for cause in report.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.ends_with(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

fn report_failure(report: &Report) -> ExitCode {
    if output::is_broken_pipe(report) {
        // The reader of our output closed the pipe on purpose.
        return ExitCode::SUCCESS;
    }
    say!("graylane: {}", format_error_chain(report));
    let untold = report.is::<probe::NotCompared>() || report.is::<signals::NotJudged>();
    if untold || report.is::<session::UsageError>() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let io = || std::io::Error::other("No such device (os error 6)");
        #[cfg(feature = "cockpit")]
        {
            let said = Report::new(crate::ui::terminal::CockpitError::Terminal(io()))
                .wrap_err("the cockpit");
            assert_eq!(
                format_error_chain(&said),
                "the cockpit: the cockpit needs a terminal: No such device (os error 6)"
            );
        }
        let plain = Report::new(io()).wrap_err("reading a");
        assert_eq!(
            format_error_chain(&plain),
            "reading a: No such device (os error 6)"
        );
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_has_an_argument_with_the_name_of_a_global_one() {
        fn walk(command: &clap::Command, global: &[String], path: &str) {
            for sub in command.get_subcommands() {
                let path = format!("{path} {}", sub.get_name());
                for own in sub.get_arguments() {
                    assert!(
                        !global.contains(&own.get_id().to_string()),
                        "{path}: {}",
                        own.get_id()
                    );
                }
                walk(sub, global, &path);
            }
        }
        let command = Cli::command();
        let global: Vec<String> = command
            .get_arguments()
            .filter(|a| a.is_global_set())
            .map(|a| a.get_id().to_string())
            .collect();
        assert!(global.len() > 3);
        walk(&command, &global, "");
    }
}

//! `man [COMMAND…]`, `man --to DIR`: manual pages, made from the definition of the command line.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use color_eyre::eyre::{Result, WrapErr};

use super::{output, session::usage_error};

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Print the page of this command, such as `release start` [default: the program's own]
    #[arg(value_name = "COMMAND", conflicts_with = "to")]
    command: Vec<String>,
    /// Write the pages of all commands to this folder, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(super) fn write_pages(args: &ManArgs, root: Command) -> Result<()> {
    let mut root = root.disable_help_subcommand(true);
    root.build();
    let Some(dir) = &args.to else {
        let command = find_command(&root, &args.command)?;
        return output::print(&render_page(command)?);
    };
    std::fs::create_dir_all(dir).wrap_err_with(|| dir.display().to_string())?;
    let mut written = 0;
    write_tree(&root, dir, &mut written)?;
    output::print(&format!(
        "{written} pages written to {}; `man -l FILE` shows one\n",
        dir.display()
    ))
}

/// The command of these words.
fn find_command<'c>(root: &'c Command, words: &[String]) -> Result<&'c Command> {
    let mut command = root;
    for word in words {
        command = command
            .find_subcommand(word)
            .filter(|c| !c.is_hide_set())
            .ok_or_else(|| usage_error(format!("there is no command {:?}", words.join(" "))))?;
    }
    Ok(command)
}

fn render_page(command: &Command) -> Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes the page of a command, and those of its subcommands.
fn write_tree(command: &Command, dir: &Path, written: &mut usize) -> Result<()> {
    let file = dir.join(Man::new(command.clone()).get_filename());
    std::fs::write(&file, render_page(command)?).wrap_err_with(|| file.display().to_string())?;
    *written += 1;
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        write_tree(sub, dir, written)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn page(words: &[&str]) -> Result<String> {
        let mut root = Cli::command().disable_help_subcommand(true);
        root.build();
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        render_page(find_command(&root, &words)?)
    }

    #[test]
    fn a_page_tells_the_options_of_its_command() {
        let start = page(&["release", "start"]).unwrap();
        assert!(start.contains(".TH graylane-release-start 1"), "{start}");
        assert!(start.contains("\\-\\-stage"), "{start}");
        assert!(page(&[]).unwrap().contains("graylane\\-release(1)"));
        let why = page(&["release", "fly"]).unwrap_err().to_string();
        assert!(why.contains("there is no command \"release fly\""), "{why}");
        assert!(page(&["sample"]).is_err(), "it is hidden");
    }

    #[test]
    fn each_command_has_its_file() {
        fn count(command: &Command) -> usize {
            let visible = command.get_subcommands().filter(|c| !c.is_hide_set());
            1 + visible.map(count).sum::<usize>()
        }
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("share/man1");
        let args = ManArgs {
            command: vec![],
            to: Some(to.clone()),
        };
        write_pages(&args, Cli::command()).unwrap();
        let mut root = Cli::command().disable_help_subcommand(true);
        root.build();
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), count(&root));
        for file in ["graylane.1", "graylane-lane-explain.1"] {
            let text = std::fs::read_to_string(to.join(file)).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{text}");
        }
    }
}

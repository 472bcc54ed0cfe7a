//! The question before a user's own command.

use super::{Focus, Question};
use crate::{
    domain::{command_line::CommandLine, text::Clean},
    ui::own_commands::{CommandOutput, PreparedCommand},
};

/// Shows the command with all its arguments.
pub fn ask_to_run(command: PreparedCommand) -> Question {
    let title = format!("Run {}?", command.title);
    let mut question = Question::empty(title, "Run");
    question.happens = vec![
        match command.output {
            CommandOutput::Terminal => "the command gets this terminal until it ends",
            CommandOutput::Text => "the command runs in the background, and its output is shown",
        }
        .into(),
        "it is one of your own, from commands.toml: graylane does not know what it changes".into(),
    ];
    let line = CommandLine::from_words(&command.argv);
    if line.to_shell_line().is_some() {
        question.kubectl.push(line);
    } else {
        // It has line breaks or the like: a sign stands for each.
        for (at, argument) in command.argv.iter().enumerate() {
            let label = if at == 0 { "program" } else { "argument" };
            question.add_fact(label, Clean::from_untrusted(argument).into_string());
        }
    }
    question.focus = Focus::No;
    question.own_command = Some(command);
    question
}

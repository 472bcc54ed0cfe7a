//! Runs a user's own command: at once, or after a question.

use super::open::push_text;
use crate::ui::{
    effect::{Effect, Foreground, Query},
    model::{Level, Model, Overlay, Source, Text},
    own_commands::{CommandOutput, OwnCommand, PreparedCommand},
    question,
};

/// Why a command cannot be run now.
pub(in crate::ui) fn explain_unavailable(model: &Model, own: &OwnCommand) -> Option<String> {
    if model.read_only && !own.safe {
        return Some("read-only".into());
    }
    let missing = own.prepare(model).err()?;
    Some(missing.absence().into())
}

/// Runs it for what is selected, or asks first.
pub(in crate::ui) fn begin_command(model: &mut Model, own: &OwnCommand) -> Vec<Effect> {
    if model.read_only && !own.safe {
        let words = format!("read-only: {} is off", own.title);
        model.add_notice(Level::Warn, words, vec![]);
        return vec![];
    }
    match own.prepare(model) {
        Err(missing) => {
            let words = format!("{}: {}", own.title, missing.absence());
            model.add_notice(Level::Warn, words, vec![]);
            vec![]
        }
        Ok(command) if own.asks => {
            let question = question::ask_to_run(command);
            model.overlays.push(Overlay::Confirm(Box::new(question)));
            vec![]
        }
        Ok(command) => run_command(model, command),
    }
}

/// Runs exactly what was prepared.
pub(in crate::ui) fn run_command(model: &mut Model, command: PreparedCommand) -> Vec<Effect> {
    let ticket = model.next_ticket();
    match command.output {
        CommandOutput::Terminal => {
            vec![Effect::Foreground(ticket, Foreground::Run(command))]
        }
        CommandOutput::Text => {
            let mut text = Text::new(&*command.title, Source::Output);
            (text.ticket, text.loading) = (Some(ticket), true);
            let mut effects = push_text(model, text);
            effects.push(Effect::Query(ticket, Query::RunCommand(command.argv)));
            effects
        }
    }
}

//! Compares gray and base: sends the request of a chain again on both.

use std::sync::Arc;

use crate::{
    domain::{chain::Chain, diff::Ignored, lanes::build_chain_requests},
    ui::{
        effect::{Effect, Query},
        form::build::ignore_form,
        keymap::{Action, KeyContext},
        model::{AnswerComparison, Level, Model, Overlay, Source, Text},
    },
};

/// The chain that is compared: the opened one, else the one that the Trace pane selects.
pub(in crate::ui) fn chosen_chain(model: &Model) -> Option<&Arc<Chain>> {
    match model.overlays.last() {
        Some(Overlay::Text(text)) => match &text.source {
            // More hops of the chain may have arrived since.
            Source::Chain(chain) => {
                let now = model.facts.chains.iter().find(|c| c.id == chain.id);
                Some(now.unwrap_or(chain))
            }
            _ => None,
        },
        _ => model.selected_chain(),
    }
}

/// Sends the request of the chosen chain to gray and to base, and opens the comparison. Where there
/// are no two requests, nothing is sent and the reason is reported.
pub(in crate::ui) fn compare_answers(model: &mut Model) -> Vec<Effect> {
    let made = match chosen_chain(model) {
        Some(chain) => build_chain_requests(chain, &model.world).map_err(|why| why.to_string()),
        None if model.overlays.is_empty() => Err("there is no request to compare".into()),
        None => {
            let key = model.key_for(KeyContext::Trace, Action::Diff);
            Err(format!(
                "{key} does nothing here: it compares the answers to a request of Trace, or to an opened one"
            ))
        }
    };
    let asked = match made {
        Ok(asked) => Arc::new(asked),
        Err(why) => {
            model.add_notice(Level::Warn, why, vec![]);
            return vec![];
        }
    };
    let ticket = model.next_ticket();
    let title = format!("Base and gray of {}", asked.pair.requests.base.path);
    let mut text = Text::new(
        title,
        Source::Comparison(Box::new(AnswerComparison::new(Arc::clone(&asked)))),
    );
    (text.ticket, text.loading) = (Some(ticket), true);
    model.overlays.push(Overlay::Text(Box::new(text)));
    let namespace = model.world.namespace.clone();
    let query = Query::Comparison { namespace, asked };
    vec![Effect::Query(ticket, query)]
}

/// The comparison in the topmost text; a form may lie over it.
fn open_comparison(model: &Model) -> Option<&AnswerComparison> {
    model
        .overlays
        .iter()
        .rev()
        .find_map(|overlay| match overlay {
            Overlay::Text(text) => match &text.source {
                Source::Comparison(comparison) => Some(&**comparison),
                _ => None,
            },
            _ => None,
        })
}

/// Whether the open overlay is a comparison, of which something may be left out.
pub(in crate::ui) fn is_comparison_open(model: &Model) -> bool {
    matches!(model.overlays.last(), Some(Overlay::Text(text)) if matches!(text.source, Source::Comparison(_)))
}

/// Opens the list of what is left out of comparisons.
pub(in crate::ui) fn open_ignore_list(model: &mut Model) -> Vec<Effect> {
    if is_comparison_open(model) {
        let form = ignore_form(model);
        model.overlays.push(Overlay::Form(Box::new(form)));
    }
    vec![]
}

/// Leaves out of this and later comparisons what the list names.
pub(in crate::ui) fn leave_out(model: &mut Model, list: String) -> Vec<Effect> {
    model.ignored = list;
    for overlay in &mut model.overlays {
        if let Overlay::Text(text) = overlay
            && let Source::Comparison(comparison) = &mut text.source
        {
            comparison.compare_again(&model.ignored);
        }
    }
    vec![]
}

/// Number of differences of the open comparison: all of them, and those that the list leaves.
pub fn count_differences(model: &Model, ignored: &Ignored) -> Option<(usize, usize)> {
    let pair = open_comparison(model)?.answers.as_ref()?;
    let count = |ignored: &Ignored| pair.compare(ignored).count();
    Some((count(&Ignored::default()), count(ignored)))
}

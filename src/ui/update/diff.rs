//! Compares gray and base: sends the request of a chain again on both.

use std::sync::Arc;

use crate::{
    domain::{chain::Chain, lanes::build_chain_requests},
    ui::{
        effect::{Effect, Query},
        keymap::{Action, KeyContext},
        model::{Level, Model, Overlay, Source, Text},
    },
};

/// The chain that is compared: the opened one, else the one that the Trace pane selects.
pub(super) fn chosen_chain(model: &Model) -> Option<&Arc<Chain>> {
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
pub(super) fn compare_answers(model: &mut Model) -> Vec<Effect> {
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
    let mut text = Text::new(title, Source::Comparison(Arc::clone(&asked), vec![]));
    (text.ticket, text.loading) = (Some(ticket), true);
    model.overlays.push(Overlay::Text(Box::new(text)));
    vec![Effect::Query(ticket, Query::Comparison(asked))]
}

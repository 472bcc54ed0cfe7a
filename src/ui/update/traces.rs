//! Fetches whole traces from the trace stores that a lane group names.

use super::diff::chosen_chain;
use crate::{
    domain::chain::Chain,
    ui::{
        effect::Effect,
        model::{Level, Model, Overlay, ProbeRun, Source, Text},
    },
};

/// Traces that one key fetches; a probe may have sent a thousand requests.
const MOST_TRACES: usize = 20;

/// Whether the open overlay shows requests whose traces can be shown in full.
pub(in crate::ui) fn has_traces(model: &Model) -> bool {
    match top_source(model) {
        Some(Source::Probe(run)) => !run.traces().is_empty(),
        Some(Source::Chain(chain)) => fetch_chain(model, chain).is_some(),
        _ => false,
    }
}

fn top_source(model: &Model) -> Option<&Source> {
    match model.overlays.last() {
        Some(Overlay::Text(text)) => Some(&text.source),
        _ => None,
    }
}

/// Shows the traces of the open probes in full, or fetches that of the open chain again.
pub(in crate::ui) fn open_whole_trace(model: &mut Model) -> Vec<Effect> {
    if let Some(Source::Probe(run)) = top_source(model) {
        let run = run.clone();
        return open_probe_traces(model, &run);
    }
    let fetch = match (top_source(model), chosen_chain(model)) {
        (Some(Source::Chain(_)), Some(chain)) => fetch_chain(model, chain),
        _ => return vec![],
    };
    let words = match fetch {
        Some(_) => "asking the trace store for the rest of the trace",
        None => "the lane group names no trace store (spec.hops), so there is nothing to fetch",
    };
    model.add_notice(Level::Info, words, vec![]);
    fetch.into_iter().collect()
}

fn open_probe_traces(model: &mut Model, run: &ProbeRun) -> Vec<Effect> {
    let mut traces = run.traces();
    if traces.is_empty() {
        let words = "there is no trace yet: no request has been answered";
        model.add_notice(Level::Warn, words, vec![]);
        return vec![];
    }
    if traces.len() > MOST_TRACES {
        let words = format!(
            "the first {MOST_TRACES} of {} traces are shown",
            traces.len()
        );
        model.add_notice(Level::Info, words, vec![]);
        traces.truncate(MOST_TRACES);
    }
    let asks = |trace: &str| fetch_trace(model, &run.group, trace);
    let effects = traces.iter().filter_map(|t| asks(&t.trace)).collect();
    let title = format!("Traces of the probe of {}", run.group);
    let text = Text::new(title, Source::ProbeTraces(traces));
    model.overlays.push(Overlay::Text(Box::new(text)));
    effects
}

/// Requests the rest of a chain's trace, when its lane group names a trace store.
pub(in crate::ui) fn fetch_chain(model: &Model, chain: &Chain) -> Option<Effect> {
    fetch_trace(model, chain.group.as_deref()?, &chain.trace)
}

fn fetch_trace(model: &Model, group: &str, trace: &str) -> Option<Effect> {
    let hops = &model.world.groups.get(group)?.spec.hops;
    let names_store = hops.iter().any(|source| source.access_log.is_none());
    (names_store && !trace.is_empty()).then(|| Effect::FetchTrace {
        namespace: model.world.namespace.clone(),
        group: group.to_owned(),
        trace: trace.to_owned(),
    })
}

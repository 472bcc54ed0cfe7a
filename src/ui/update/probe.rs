//! Probes: one key sends a tagged and an untagged request, so that their chains can be compared.

use crate::{
    api::{LaneSpec, ProbeSpec},
    domain::{intent::ProbeRequest, lanes},
    ui::{
        effect::Effect,
        keymap::{Action, KeyContext},
        model::{Level, Model, Overlay, Pending, ProbeRun, Source, Text},
    },
};

/// A request that the group's first enabled lane takes, and one that no lane takes, as far as the
/// rule allows to tell.
pub fn suggest_probes(model: &Model, group: &str) -> (Option<ProbeSpec>, ProbeSpec) {
    let world = &model.world;
    let lane = model
        .visible_lanes()
        .into_iter()
        .filter(|row| row.scope.name() == world.namespace)
        .filter_map(|row| world.lanes.get(row.name))
        .filter(|l| l.spec.group == group)
        .min_by_key(|l| (!l.spec.enabled, l.spec.priority));
    let path = probe_path(model, group, lane.map(|l| &l.spec));
    let plain = ProbeSpec {
        path: path.clone(),
        count: 1,
        ..ProbeSpec::default()
    };
    let tagged = lane.and_then(|lane| {
        let spec = lanes::build_lane_request(&lane.spec, plain.clone())?;
        (spec != plain).then_some(spec)
    });
    (tagged, plain)
}

/// The path of a recent successful request, else an entry route of the group.
fn probe_path(model: &Model, group: &str, lane: Option<&LaneSpec>) -> String {
    let fits = |path: &str| {
        lane.is_none_or(|l| {
            l.rule.paths.is_empty()
                || l.rule
                    .paths
                    .iter()
                    .any(|p| crate::domain::request::is_under_prefix(path, p))
        })
    };
    let bare = |path: &str| path.split('?').next().unwrap_or("/").to_owned();
    let own = |g: &Option<String>| g.as_deref().is_none_or(|g| g == group);
    let asked = model
        .world
        .hops
        .iter()
        .rev()
        .filter(|h| h.entry && own(&h.group) && h.status < 400);
    let asked = asked.map(|h| bare(&h.path)).find(|p| fits(p));
    let routes = model
        .world
        .groups
        .get(group)
        .map(|g| g.spec.entry.routes.as_slice())
        .unwrap_or_default();
    asked
        .or_else(|| routes.iter().map(|r| r.path.clone()).find(|p| fits(p)))
        .unwrap_or_else(|| "/".into())
}

/// Sends a tagged and an untagged probe.
pub(in crate::ui) fn send_both_probes(model: &mut Model) -> Vec<Effect> {
    let own = model.selected_lane().map(|(_, l)| l.spec.group.clone());
    let Some(group) = own.or_else(|| model.world.groups.keys().next().cloned()) else {
        model.add_notice(Level::Warn, "there is no lane group to probe", vec![]);
        return vec![];
    };
    let (tagged, plain) = suggest_probes(model, &group);
    let mut sent = vec![];
    if let Some(tagged) = tagged {
        sent.push(("tagged".to_owned(), tagged));
    } else {
        let key = model.key_for(KeyContext::Global, Action::ProbeForm);
        let words =
            format!("no request can be made up that a lane takes; {key} sends one of your own");
        model.add_notice(Level::Info, words, vec![]);
    }
    sent.push(("untagged".to_owned(), plain));
    send_probes(model, &group, sent)
}

/// Sends a custom probe.
pub(in crate::ui) fn send_custom_probe(model: &mut Model, request: ProbeRequest) -> Vec<Effect> {
    let ProbeRequest { group, probe } = request;
    send_probes(model, &group, vec![("request".into(), probe)])
}

fn send_probes(model: &mut Model, group: &str, sent: Vec<(String, ProbeSpec)>) -> Vec<Effect> {
    let id = model.next_ticket().0;
    let run = ProbeRun {
        id,
        group: group.to_owned(),
        slots: sent
            .iter()
            .map(|(label, _)| (label.clone(), None))
            .collect(),
    };
    let mut text = Text::new(format!("Probe of {group}"), Source::Probe(run));
    text.loading = true;
    model.overlays.push(Overlay::Text(Box::new(text)));
    let mut effects = vec![];
    for (label, probe) in sent {
        let ticket = model.next_ticket();
        let pending = Pending {
            probe: Some(id),
            ..Pending::new("probing", &model.current_scope().key_of(&label), model.now)
        };
        model.pending.insert(ticket, pending);
        effects.push(Effect::Probe(
            ticket,
            model.world.namespace.clone(),
            ProbeRequest {
                group: group.into(),
                probe,
            },
        ));
    }
    effects
}

//! A shell in the selected pod, and ports of pods that are forwarded to this machine.

use crate::{
    domain::{text::Clean, world::ObjectKey},
    ui::{
        effect::{Answer, Effect, Foreground, Query, Ticket},
        model::{Level, Model, Overlay, Palette, PaletteItem, PortForward},
    },
};

fn report_no_pod(model: &mut Model) -> Vec<Effect> {
    model.add_notice(Level::Warn, "no pod is selected", vec![]);
    vec![]
}

/// Opens a shell in the selected pod; of several containers one is chosen first.
pub(in crate::ui) fn open_shell(model: &mut Model) -> Vec<Effect> {
    let Some(pod) = model.selected_pod().filter(|_| model.drilled) else {
        return report_no_pod(model);
    };
    let (key, containers) = (pod.key.clone(), pod.containers.clone());
    if let [one] = containers.as_slice() {
        return run_shell(model, key, one.to_string());
    }
    let item = |name: &Clean| {
        let item = PaletteItem::Shell(key.clone(), name.to_string());
        (name.to_string(), item)
    };
    let all = containers.iter().map(item).collect();
    let palette = Palette::for_choices("Shell in which container", "no such container", all, None);
    model.overlays.push(Overlay::Palette(Box::new(palette)));
    vec![]
}

pub(in crate::ui) fn run_shell(
    model: &mut Model,
    pod: ObjectKey,
    container: String,
) -> Vec<Effect> {
    let ticket = model.next_ticket();
    vec![Effect::Foreground(
        ticket,
        Foreground::Shell { pod, container },
    )]
}

/// Asks for the ports of the selected pod.
pub(in crate::ui) fn choose_port(model: &mut Model) -> Vec<Effect> {
    let Some(pod) = model.selected_pod().filter(|_| model.drilled) else {
        return report_no_pod(model);
    };
    let key = pod.key.clone();
    let ticket = model.next_ticket();
    let mut palette = Palette::for_choices(
        "Forward which port",
        "reading the pod",
        vec![],
        Some(ticket),
    );
    palette.pod = Some(key.clone());
    model.overlays.push(Overlay::Palette(Box::new(palette)));
    vec![Effect::Query(ticket, Query::Ports(key))]
}

/// The ports of the pod have come.
pub(in crate::ui) fn set_ports(palette: &mut Palette, ports: Vec<(String, u16)>) {
    let Some(pod) = palette.pod.clone() else {
        return;
    };
    palette.none = "the containers of this pod name no such port".into();
    palette.all = ports
        .into_iter()
        .map(|(name, port)| {
            (
                format!("{port}  {name}"),
                PaletteItem::Forward(pod.clone(), port),
            )
        })
        .collect();
    palette.update_matches();
}

pub(in crate::ui) fn start_forward(model: &mut Model, pod: ObjectKey, port: u16) -> Vec<Effect> {
    let ticket = model.next_ticket();
    let forward = PortForward {
        pod: pod.clone(),
        port,
        local: None,
    };
    model.forwards.insert(ticket, forward);
    vec![Effect::Query(ticket, Query::PortForward { pod, port })]
}

/// Lists the ports that are forwarded; the chosen one is ended.
pub(in crate::ui) fn list_forwards(model: &mut Model) -> Vec<Effect> {
    let item = |(ticket, forward): (&Ticket, &PortForward)| {
        (describe_forward(forward), PaletteItem::EndForward(*ticket))
    };
    let all = model.forwards.iter().map(item).collect();
    let palette = Palette::for_choices("End which port forward", "no port is forwarded", all, None);
    model.overlays.push(Overlay::Palette(Box::new(palette)));
    vec![]
}

fn describe_forward(forward: &PortForward) -> String {
    let PortForward { pod, port, local } = forward;
    match local {
        Some(local) => format!("127.0.0.1:{local} → {port} of {}", pod.name),
        None => format!("not yet: port {port} of {}", pod.name),
    }
}

pub(in crate::ui) fn end_forward(model: &mut Model, ticket: Ticket) -> Vec<Effect> {
    let Some(forward) = model.forwards.remove(&ticket) else {
        return vec![];
    };
    let words = format!(
        "no longer forwarded: port {} of {}",
        forward.port, forward.pod.name
    );
    model.add_notice(Level::Info, words, vec![]);
    vec![Effect::CancelQuery(ticket)]
}

/// What came of a forward.
pub(in crate::ui) fn handle_answer(model: &mut Model, ticket: Ticket, answer: Answer) {
    let Some(forward) = model.forwards.get_mut(&ticket) else {
        return;
    };
    match answer {
        Answer::Forwarding(local) => {
            forward.local = Some(local);
            let words = describe_forward(forward);
            model.add_notice(Level::Good, words, vec![]);
        }
        Answer::Failed(fault) => {
            let words = format!(
                "port {} of {}: {}",
                forward.port, forward.pod.name, fault.text
            );
            model.forwards.remove(&ticket);
            model.add_notice(Level::Bad, words, vec![]);
        }
        Answer::End => {
            model.forwards.remove(&ticket);
        }
        _ => {}
    }
}

//! What every message does to the model. Pure: no I/O, no clock, no randomness; what is to be done outside is
//! answered as data.

use super::{
    effect::Effect,
    form,
    model::{Model, Msg, Overlay},
};

mod act;
mod answer;
mod input;
mod open;
mod probe;

pub use act::can;
pub use probe::probes;

/// Takes a message; answers what is to be done outside.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Input(event) => input::input(model, event),
        Msg::World(world) => {
            model.facts.refresh(&world, model.now);
            model.world = world;
            model.settle();
            look(model);
            vec![]
        }
        Msg::Settled(ticket, outcome) => answer::settled(model, ticket, outcome),
        Msg::Answer(ticket, answer) => {
            answer::answer(model, ticket, answer);
            vec![]
        }
        Msg::Tick(now) => {
            model.now = now;
            model.beat = model.beat.wrapping_add(1);
            vec![]
        }
        Msg::Resumed => vec![Effect::Repaint],
    }
}

/// Questions and forms that are open are held against the world as it is now.
fn look(model: &mut Model) {
    let mut overlays = std::mem::take(&mut model.overlays);
    for overlay in &mut overlays {
        match overlay {
            Overlay::Confirm(question) => question.look(&model.world),
            Overlay::Form(open) => form::check(model, open),
            Overlay::Text(_) | Overlay::Palette(_) | Overlay::Filter(..) => {}
        }
    }
    model.overlays = overlays;
}

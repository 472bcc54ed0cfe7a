//! What every message does to the model. Pure: no I/O, no clock, no randomness; what is to be done outside is
//! answered as data.

use super::{
    effect::Effect,
    form,
    model::{Level, Model, Msg, Overlay},
    question,
};
use crate::domain::{
    text::age,
    world::{Trouble, World},
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
        // The last words of a cluster that is not looked at any more.
        Msg::World(world) if !world.place.is_empty() && *world.place != *model.options.place => {
            vec![]
        }
        Msg::World(world) => {
            model.facts.refresh(&world, model.now);
            let before = std::mem::replace(&mut model.world, world);
            let renewed = model.world.engine.as_ref().and_then(|e| e.renewed);
            if model.heard.0 != renewed {
                model.heard = (renewed, model.now);
            }
            link(model, &before);
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
            model.facts.tick(now);
            model.beat = model.beat.wrapping_add(1);
            vec![]
        }
        Msg::Resumed => vec![Effect::Repaint],
    }
}

/// What is wrong with the connection is told whole, once: the header has no room for it.
fn link(model: &mut Model, before: &World) {
    let (was, is) = (before.link.stale(), model.world.link.stale());
    match (was, is) {
        // What a login plugin says is what to do; of the others one word is as good as another.
        (was, Some((_, trouble, why)))
            if was.is_none_or(|(_, before, words)| {
                before != trouble || (trouble == Trouble::Unauthorized && words != why)
            }) =>
        {
            let detail = vec![
                why.to_string(),
                trouble
                    .advice()
                    .unwrap_or("it is tried again all the time")
                    .into(),
            ];
            model.notice(Level::Bad, trouble.told(), detail);
        }
        (Some((since, ..)), None) => {
            let words = format!("connected again after {}", age(model.now, since));
            model.notice(Level::Good, words, vec![]);
        }
        _ => {}
    }
}

/// Questions and forms that are open are held against the world as it is now.
fn look(model: &mut Model) {
    let mut overlays = std::mem::take(&mut model.overlays);
    for overlay in &mut overlays {
        match overlay {
            Overlay::Confirm(asked) => {
                asked.look(&model.world);
                let fresh = asked
                    .again
                    .and_then(|action| question::ask(model, action).ok());
                fresh.into_iter().for_each(|fresh| asked.freshen(fresh));
            }
            Overlay::Form(open) => form::check(model, open),
            Overlay::Text(_) | Overlay::Palette(_) | Overlay::Filter(..) => {}
        }
    }
    model.overlays = overlays;
}

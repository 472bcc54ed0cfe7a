//! The cockpit: graylane's terminal user interface.
//!
//! Design rules: `update(&mut Model, Msg) -> Vec<Effect>` is pure; views are functions of `&Model`;
//! effects are plain data, carried out by an implementation of [`run::EffectHandler`]. The event loop
//! never blocks on I/O. Objects are selected by name, never by row index. The cockpit sends intents
//! and never holds an API client.

use crate::domain::facts;

pub mod action;
pub mod effect;
#[doc(hidden)]
pub mod fixture;
pub mod form;
pub mod glyph;
pub mod keymap;
pub mod model;
pub mod options;
pub mod own_commands;
pub mod pane;
pub mod question;
pub mod rights;
pub mod rule;
pub mod run;
pub mod terminal;
pub mod theme;
pub mod update;
pub mod view;
mod widget;

pub use effect::{Answer, Effect, Fault, IntentOutcome, Query, Ticket};
pub use model::{Model, Msg};
pub use options::Options;
pub use run::EffectHandler;
pub use update::update;
pub use view::view;

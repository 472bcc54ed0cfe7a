//! The cockpit's promises, over anything that may happen to it.

#[path = "support/scenes.rs"]
mod scenes;
#[path = "support/screen.rs"]
mod screen;
#[path = "support/worlds.rs"]
mod worlds;

#[path = "cockpit/bytes.rs"]
mod bytes;
#[path = "cockpit/flow.rs"]
mod flow;
#[path = "cockpit/hostile.rs"]
mod hostile;
#[path = "cockpit/logs.rs"]
mod logs;
#[path = "cockpit/looks.rs"]
mod looks;
#[path = "cockpit/properties.rs"]
mod properties;

//! The cockpit without a terminal: what it draws, and what keys and worlds make of it.

#[path = "../support/generated.rs"]
mod generated;
mod scenes;
mod screen;
mod svg;
mod worlds;

mod animation;
mod cockpit;
mod keymap;
mod pictures;
mod same;
mod screenshots;

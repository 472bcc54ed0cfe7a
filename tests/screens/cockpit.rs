//! The cockpit's promises, over anything that may happen to it.

mod all_namespaces;
mod bytes;
mod cut;
mod diff;
mod edit;
mod flow;
mod hints;
mod hostile;
mod lists;
mod logs;
mod looks;
mod many;
mod mouse;
mod namespaces;
mod own_commands;
mod properties;
mod reasons;
mod releases;
mod themes;
mod traces;
mod typing;

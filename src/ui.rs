//! The cockpit: msg, model, update, keymap, theme, view.

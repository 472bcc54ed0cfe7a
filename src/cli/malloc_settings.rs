//! Makes glibc give memory back in long-running processes.
//!
//! glibc gives threads up to eight arenas per core, and memory that is free in one cannot be used by
//! another: after 150 releases a demo held 159 MB, and 128 MB with two arenas. It also raises the
//! size from which a block is mapped by itself, and given back at once, whenever such a block is
//! freed: lists of pages of some MB then stay in the heap. With both thresholds fixed at their
//! initial values a cockpit with 5,000 pods holds 60 MB instead of 72, an engine 92 instead of 100.
//!
//! glibc reads its settings (mallopt(3)) before `main`, so the program executes itself again with
//! the variables set.

use std::{env, os::unix::process::CommandExt, process::Command};

/// Environment variables and their values. Two arenas: as many threads as run at the same time on a
/// small machine.
const SETTINGS: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
];
/// Another variable that can set all of them.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Executes this program again with the settings that the environment lacks, unless it sets
/// glibc's `malloc` in another way. Must be called before the process changes its state in any way.
pub(super) fn apply_settings() {
    let tuned =
        env::var_os(TUNABLES).is_some_and(|t| t.to_string_lossy().contains("glibc.malloc."));
    let missing: Vec<_> = SETTINGS
        .into_iter()
        .filter(|(name, _)| env::var_os(name).is_none())
        .collect();
    if tuned || missing.is_empty() || !cfg!(target_env = "gnu") {
        return;
    }
    let (Ok(program), mut words) = (env::current_exe(), env::args_os()) else {
        return;
    };
    let mut command = Command::new(program);
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    // Returns only on failure; then the program continues with the defaults.
    let _ = command.args(words).envs(missing).exec();
}

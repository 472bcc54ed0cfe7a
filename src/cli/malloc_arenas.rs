//! Limits the number of glibc memory arenas in long-running processes. glibc gives threads up to
//! eight arenas per core, and memory that is free in one cannot be used by another: after 150
//! releases a demo held 159 MB, and 128 MB with two arenas. glibc reads the number
//! (`MALLOC_ARENA_MAX`, mallopt(3)) before `main`, so the program executes itself again with the
//! variable set.

use std::{env, os::unix::process::CommandExt, process::Command};

const ARENA_MAX: &str = "MALLOC_ARENA_MAX";
/// As many threads as run at the same time on a small machine.
const ARENA_COUNT: &str = "2";
/// Another variable that can set `glibc.malloc.arena_max`.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Executes this program again with few arenas, unless the environment already sets their number.
/// Must be called before the process changes its state in any way.
pub(super) fn limit_arenas() {
    let said = env::var_os(ARENA_MAX).is_some()
        || env::var_os(TUNABLES)
            .is_some_and(|t| t.to_string_lossy().contains("glibc.malloc.arena_max"));
    if said || !cfg!(target_env = "gnu") {
        return;
    }
    let (Ok(program), mut words) = (env::current_exe(), env::args_os()) else {
        return;
    };
    let mut command = Command::new(program);
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    // Returns only on failure; then the program continues with the default.
    let _ = command.args(words).env(ARENA_MAX, ARENA_COUNT).exec();
}

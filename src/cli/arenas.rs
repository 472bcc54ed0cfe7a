//! Few arenas of memory for what runs for long. glibc gives threads up to eight arenas a core, and what is free in one is
//! of no use to another: after 150 releases a demo held 159 MB with them and 128 MB with two. glibc reads their number
//! (`MALLOC_ARENA_MAX`, mallopt(3)) before `main`, so the program executes itself again with the variable set.

use std::{env, os::unix::process::CommandExt, process::Command};

const NUMBER: &str = "MALLOC_ARENA_MAX";
/// As many threads as run at the same time on a small machine.
const FEW: &str = "2";
/// glibc's other variable for it, `glibc.malloc.arena_max`.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Executes this program again with few arenas, unless the environment says how many there are. To be called before the
/// process is changed in any way.
pub(super) fn limit() {
    let said = env::var_os(NUMBER).is_some()
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
    // Returns only where that failed: then it goes on as it is.
    let _ = command.args(words).env(NUMBER, FEW).exec();
}

//! Makes glibc's malloc give memory back in processes that run for long.
//!
//! glibc gives threads up to eight arenas per core, and memory that is free in one cannot be used by
//! another: after 150 releases a demo held 159 MB, and 128 MB with two arenas. It also raises the
//! size from which a block is mapped by itself, and given back at once, whenever such a block is
//! freed: lists of pages of some MB then stay in the heap. With both thresholds fixed at their
//! initial values a cockpit with 5,000 pods held 60 MB instead of 72, an engine 92 instead of 100.
//!
//! This is the only crate of the workspace with unsafe code: no safe interface to mallopt(3) exists.
//! The same settings as environment variables are read before `main`: the program would have to
//! start twice, and each program that it starts would inherit them.

/// Sets what the environment does not set: two arenas (as many threads as run at the same time on a
/// small machine), and thresholds that do not grow. Must be called before threads start. Does
/// nothing where the C library is another one.
pub fn limit_kept_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::apply_settings();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::env;

    use libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, c_int};

    /// Options of mallopt(3), their values, and the environment variables that set them.
    const SETTINGS: [(c_int, c_int, &str); 3] = [
        (M_ARENA_MAX, 2, "MALLOC_ARENA_MAX"),
        (M_MMAP_THRESHOLD, 128 * 1024, "MALLOC_MMAP_THRESHOLD_"),
        (M_TRIM_THRESHOLD, 128 * 1024, "MALLOC_TRIM_THRESHOLD_"),
    ];
    /// Another variable, which can set all of them.
    const TUNABLES: &str = "GLIBC_TUNABLES";

    pub(super) fn apply_settings() {
        let tunables = env::var_os(TUNABLES).unwrap_or_default();
        if tunables.to_string_lossy().contains("glibc.malloc.") {
            return;
        }
        for (option, value, variable) in SETTINGS {
            if env::var_os(variable).is_none() {
                set_option(option, value);
            }
        }
    }

    #[expect(unsafe_code, reason = "no safe interface to mallopt exists")]
    fn set_option(option: c_int, value: c_int) {
        // SAFETY: mallopt takes two numbers, locks what it changes, and refuses what it does not
        // know. A refused setting only costs memory.
        unsafe {
            libc::mallopt(option, value);
        }
    }
}

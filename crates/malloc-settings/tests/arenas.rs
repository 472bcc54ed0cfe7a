//! Threads share two arenas. A process of its own: settings are of the whole process.

use std::{
    collections::BTreeSet,
    sync::{Arc, Barrier},
    thread,
};

const THREADS: usize = 16;
/// glibc aligns the heaps of all arenas but the first to this size (`HEAP_MAX_SIZE` in its
/// malloc/arena.c).
const HEAP_MAX_SIZE: usize = 64 << 20;

#[test]
fn threads_share_two_arenas() {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        eprintln!("SKIPPED: the settings are glibc's, and this is no glibc");
        return;
    }
    if ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"].map(std::env::var_os) != [None, None] {
        eprintln!("SKIPPED: the environment sets glibc's malloc, and has priority");
        return;
    }
    malloc_settings::limit_kept_memory();
    let all_allocated = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let all_allocated = all_allocated.clone();
            thread::spawn(move || {
                let block = Box::new([0u8; 100]);
                let heap = block.as_ptr().addr() / HEAP_MAX_SIZE;
                // An arena is handed on when its thread ends.
                all_allocated.wait();
                heap
            })
        })
        .collect();
    let heaps: BTreeSet<usize> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    // The first arena is wherever the process has its heap, perhaps across such a border.
    assert!(heaps.len() <= 3, "{heaps:?}");
}

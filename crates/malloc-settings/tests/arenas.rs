//! How many arenas threads share. Settings are of the whole process, so each case has its own.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::{Arc, Barrier},
    thread,
};

const THREADS: usize = 16;
/// glibc aligns the heaps of all arenas but the first to this size (`HEAP_MAX_SIZE` in its
/// malloc/arena.c).
const HEAP_MAX_SIZE: usize = 64 << 20;

/// The first arena is wherever the process has its heap, perhaps across such a border.
const HEAPS_OF_TWO_ARENAS: usize = 3;

fn count_heaps() -> usize {
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
    heaps.len()
}

#[test]
#[ignore = "run by the other test in processes of its own"]
fn few_heaps() {
    assert!(count_heaps() <= HEAPS_OF_TWO_ARENAS);
}

#[test]
#[ignore = "run by the other test in processes of its own"]
fn many_heaps() {
    assert!(count_heaps() > HEAPS_OF_TWO_ARENAS);
}

#[test]
fn threads_share_two_arenas_unless_the_environment_says_otherwise() {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        eprintln!("SKIPPED: the settings are glibc's, and this is no glibc");
        return;
    }
    for (said, case) in [
        (None, "few_heaps"),
        (Some(("MALLOC_ARENA_MAX", "16")), "many_heaps"),
        (
            Some(("GLIBC_TUNABLES", "glibc.malloc.arena_max=16")),
            "many_heaps",
        ),
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--ignored", "--exact", case])
            .env_remove("MALLOC_ARENA_MAX")
            .env_remove("GLIBC_TUNABLES")
            .envs(said);
        let done = child.output().unwrap();
        assert!(done.status.success(), "{said:?}: {done:?}");
        let told = String::from_utf8_lossy(&done.stdout);
        assert!(told.contains("1 passed"), "{told}");
    }
}

//! Links release builds small: by a quarter, and in no more time.
//!
//! Linkers differ in which of the options they know, so each is tried on an empty program, which
//! must also start.

use std::{env, fs, path::Path, process::Command};

/// Leaves out the tables that only unwinding and backtraces read: a release build ends at a panic
/// (`profile.release` in Cargo.toml), and without symbols a backtrace names no function.
const NO_UNWIND_TABLES: &str = "SECTIONS {
    /DISCARD/ : { *(.eh_frame) *(.gcc_except_table .gcc_except_table.*) }
} INSERT AFTER .text;
";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_release =
        read_variable("PROFILE") == "release" && read_variable("CARGO_CFG_TARGET_OS") == "linux";
    // Whoever asks for debug information wants backtraces, of a profiler for example.
    if !is_release || read_variable("DEBUG") != "false" {
        return;
    }
    let dir = read_variable("OUT_DIR");
    let dir = Path::new(&dir);
    let script = dir.join("no_unwind_tables.ld");
    write_file(&script, NO_UNWIND_TABLES);
    let options = [
        // Functions that are compiled to the same code become one.
        vec!["-Wl,--icf=all".to_owned()],
        // Relocations in a tenth of the space. The loader must know them: glibc does since 2.36.
        vec!["-Wl,-z,pack-relative-relocs".to_owned()],
        vec![
            "-Wl,--no-eh-frame-hdr".to_owned(),
            format!("-Wl,-T,{}", script.display()),
        ],
    ];
    let mut used = vec![];
    for option in options {
        let more = [used.clone(), option].concat();
        if links_and_starts(dir, &more) {
            used = more;
        }
    }
    for option in used {
        println!("cargo::rustc-link-arg-bins={option}");
    }
}

/// Whether an empty program, linked with these options as this package will be, starts.
fn links_and_starts(dir: &Path, options: &[String]) -> bool {
    let (source, program) = (dir.join("empty.rs"), dir.join("empty"));
    write_file(&source, "fn main() {}");
    let (host, target) = (read_variable("HOST"), read_variable("TARGET"));
    let mut rustc = Command::new(read_variable("RUSTC"));
    rustc.args(["--crate-type=bin", "-Cpanic=abort", "-Copt-level=s"]);
    rustc.arg(format!("--target={target}"));
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.args(options.iter().map(|option| format!("-Clink-arg={option}")));
    let linked = rustc.arg("-o").arg(&program).arg(&source).output();
    // A program for another machine cannot be started here.
    linked.is_ok_and(|done| done.status.success())
        && host == target
        && Command::new(&program)
            .status()
            .is_ok_and(|done| done.success())
}

fn read_variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn write_file(file: &Path, text: &str) {
    fs::write(file, text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
}

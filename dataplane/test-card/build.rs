//! Compiles the card, where DPDK's headers for drivers are: `make deps` puts them into the target folder.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(card)");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-env-changed=REWIRE_DPDK_DRIVER_HEADERS");
    let Some(headers) = headers() else {
        println!(
            "cargo::warning=no card for tests: DPDK's headers for drivers are missing (make deps)"
        );
        return;
    };
    println!("cargo::rerun-if-changed={}", headers.display());
    let mut build = cc::Build::new();
    let files = [
        "decode",
        "device",
        "execute",
        "flow",
        "queues",
        "rules",
        "templates",
    ];
    build
        .files(files.map(|file| format!("src/{file}.c")))
        .opt_level(2)
        .define("ALLOW_EXPERIMENTAL_API", None)
        .define("ALLOW_INTERNAL_API", None)
        .flag("-isystem")
        .flag(&headers);
    // Where Rust is watched over, so is the card: the runtime of its sanitizer serves both.
    if env::var("CARGO_CFG_SANITIZE").is_ok_and(|sanitizers| sanitizers.contains("address")) {
        build
            .flag("-fsanitize=address")
            .flag("-fno-omit-frame-pointer");
    }
    // What pkg-config says, as the bindings' build found it.
    for flag in env::var("DEP_DPDK_CFLAGS")
        .unwrap_or_default()
        .split_whitespace()
    {
        // As a system folder, so that warnings in DPDK's own headers are not ours.
        match flag.strip_prefix("-I") {
            Some(folder) => build.flag("-isystem").flag(folder),
            None => build.flag(flag),
        };
    }
    build.compile("rewire_test_card");
    for library in ["rte_bus_vdev", "rte_kvargs", "rte_net"] {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    println!("cargo::rustc-cfg=card");
}

/// The folder with the headers: a variable names it, or it is in a target folder above.
fn headers() -> Option<PathBuf> {
    let named = env::var_os("REWIRE_DPDK_DRIVER_HEADERS").map(PathBuf::from);
    let out = PathBuf::from(env::var_os("OUT_DIR")?);
    let above = out
        .ancestors()
        .map(|folder| folder.join("dpdk-driver-headers"));
    named
        .into_iter()
        .chain(above)
        .find(|folder: &PathBuf| Path::new(folder).join("ethdev_driver.h").exists())
}

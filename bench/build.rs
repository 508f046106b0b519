//! Compiles the few lines of C through which a benchmark calls DPDK's `rte_acl`, where that is asked for.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/acl_peer.c");
    if std::env::var_os("CARGO_FEATURE_RTE_ACL").is_none() {
        return;
    }
    let output = Command::new("pkg-config")
        .args(["--cflags", "libdpdk"])
        .output();
    let output = output.expect("pkg-config runs: apt-get install libdpdk-dev pkgconf");
    assert!(
        output.status.success(),
        "pkg-config finds libdpdk: apt-get install libdpdk-dev"
    );
    let mut build = cc::Build::new();
    build.file("src/acl_peer.c").opt_level(3);
    for flag in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        // As a system folder, so that warnings in DPDK's own headers are not ours.
        match flag.strip_prefix("-I") {
            Some(folder) => build.flag("-isystem").flag(folder),
            None => build.flag(flag),
        };
    }
    build.compile("acl_peer");
    for library in ["rte_acl", "rte_eal"] {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
}

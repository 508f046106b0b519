//! Finds DPDK and a libclang, compiles the shim, generates the bindings.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: &str = "libdpdk-dev pkgconf clang-14 libclang-14-dev";

/// What `rewire-dpdk` uses. Everything else stays out of the bindings: some of DPDK's headers hold
/// structs that Rust cannot express (packed ones that contain aligned ones).
const FUNCTIONS: &[&str] = &[
    "rewire_.*",
    "rte_eal_(init|cleanup|get_runtime_dir|hotplug_add|hotplug_remove)",
    "rte_strerror",
    "rte_thread_(register|unregister)",
    "rte_pktmbuf_(pool_create|free_bulk)",
    "rte_mempool_(free|avail_count|in_use_count)",
    "rte_eth_dev_(get_port_by_name|info_get|configure|adjust_nb_rx_tx_desc|start|stop|close|set_mtu)",
    "rte_eth_(rx|tx)_queue_setup",
    "rte_eth_promiscuous_enable",
    "rte_eth_macaddr_get",
    "rte_eth_link_get_nowait",
    "rte_eth_stats_get",
    "rte_flow_(info_get|configure|async_create|async_destroy|push|pull)",
    "rte_flow_(pattern_template|actions_template|template_table)_(create|destroy)",
    "rte_flow_(validate|create|destroy|flush|query|get_aged_flows)",
];
/// What the flow API takes behind untyped pointers.
const FLOW_TYPES: &[&str] = &[
    "rte_flow_item_(ethdev|eth|ipv4|ipv6|tcp|udp|integrity)",
    "rte_flow_action_(set_ipv4|set_ipv6|set_tp|set_mac|ethdev|queue|age|count)",
    "rte_flow_query_(count|age)",
];
/// The same with the feature `route-tables`.
const TABLE_FUNCTIONS: &[&str] = &[
    "rte_(lpm|lpm6|fib|fib6)_(create|free|add|delete)",
    "rte_hash_(create|free|add_key|del_key)",
    "rte_lpm6_lookup_bulk_func",
    "rte_(fib|fib6)_(lookup_bulk|select_lookup)",
    "rte_malloc_get_socket_stats",
    "rte_vect_set_max_simd_bitwidth",
];
const CONSTANTS: &[&str] = &[
    "RTE_PKTMBUF_HEADROOM",
    "RTE_LOG_(ERR|WARNING|NOTICE)",
    "RTE_ETH_LINK_UP",
];

/// Only handled by pointer, or not representable.
const OPAQUE: &[&str] = &[
    "rte_mempool",
    "rte_device",
    "rte_arp_hdr",
    "rte_arp_ipv4",
    "rte_gtp_psc_generic_hdr",
    "rte_l2tpv2_combined_msg_hdr",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/shim.h");
    println!("cargo:rerun-if-changed=src/shim.c");
    for name in [
        "PKG_CONFIG",
        "PKG_CONFIG_PATH",
        "PKG_CONFIG_LIBDIR",
        "LIBCLANG_PATH",
    ] {
        println!("cargo:rerun-if-env-changed={name}");
    }

    let version = pkg_config("--modversion");
    if !version.iter().any(|word| word.starts_with("22.11")) {
        fail(&format!(
            "these bindings are for DPDK 22.11, and pkg-config finds {}",
            version.join(" ")
        ));
    }
    // The raw output, because the headers do not compile without `-include rte_config.h` and
    // `-march=…`, which the pkg-config crate drops.
    let flags = pkg_config("--cflags");
    // For crates that compile against DPDK themselves: DEP_DPDK_CFLAGS.
    println!("cargo:cflags={}", flags.join(" "));
    compile_shim(&flags);
    generate_bindings(&flags);
    link();
}

fn compile_shim(flags: &[String]) {
    let mut build = cc::Build::new();
    build
        .file("src/shim.c")
        .opt_level(2)
        .flag("-Wno-deprecated-declarations");
    if has_tables() {
        build.define("REWIRE_ROUTE_TABLES", None);
    }
    for flag in flags {
        // As a system folder, so that warnings in DPDK's own headers are not ours.
        match flag.strip_prefix("-I") {
            Some(folder) => build.flag("-isystem").flag(folder),
            None => build.flag(flag),
        };
    }
    build.compile("rewire_dpdk_shim");
}

fn generate_bindings(flags: &[String]) {
    choose_libclang();
    let mut builder = bindgen::Builder::default()
        .header("src/shim.h")
        .clang_args(flags)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .wrap_unsafe_ops(true)
        .derive_default(true)
        .generate_comments(false)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .allowlist_type("rte_mbuf");
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    if has_tables() {
        builder = builder.clang_arg("-DREWIRE_ROUTE_TABLES");
        for name in TABLE_FUNCTIONS {
            builder = builder.allowlist_function(name);
        }
    }
    for name in FLOW_TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in CONSTANTS {
        builder = builder.allowlist_var(name);
    }
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }
    let bindings = builder
        .generate()
        .unwrap_or_else(|error| fail(&format!("bindgen could not read DPDK's headers: {error}")));
    let target = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindings
        .write_to_file(target.join("bindings.rs"))
        .unwrap_or_else(|error| fail(&format!("cannot write the bindings: {error}")));
}

/// The libraries that the bindings call into. A static release would ask for
/// `pkg-config --static --libs` here, and link the drivers with `+whole-archive`.
fn link() {
    for folder in pkg_config("--libs-only-L") {
        if let Some(folder) = folder.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={folder}");
        }
    }
    for library in ["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_eal"] {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    if has_tables() {
        for library in ["rte_lpm", "rte_fib", "rte_hash"] {
            println!("cargo:rustc-link-lib=dylib={library}");
        }
    }
}

fn has_tables() -> bool {
    env::var_os("CARGO_FEATURE_ROUTE_TABLES").is_some()
}

/// Where several libclang are installed, some come without the compiler's own headers (`stddef.h`),
/// and bindgen may pick one of those. Takes the newest whose headers are there, unless told.
fn choose_libclang() {
    if env::var_os("LIBCLANG_PATH").is_some() {
        return;
    }
    let newest = installed_llvms()
        .into_iter()
        .filter(|(_, folder)| has_libclang(folder) && has_headers(folder))
        .max_by_key(|(version, _)| *version);
    match newest {
        // SAFETY: a build script's main thread is its only one.
        Some((_, folder)) => unsafe { env::set_var("LIBCLANG_PATH", folder) },
        // Seen if bindgen finds none either, and panics.
        None => eprintln!("no libclang in /usr/lib/llvm-*/lib: apt-get install {PACKAGES}"),
    }
}

/// `/usr/lib/llvm-14/lib` and its like, with the version.
fn installed_llvms() -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| {
            let version = entry
                .file_name()
                .to_str()?
                .strip_prefix("llvm-")?
                .parse()
                .ok()?;
            Some((version, entry.path().join("lib")))
        })
        .collect()
}

fn has_libclang(folder: &Path) -> bool {
    folder.join("libclang.so").exists() || folder.join("libclang.so.1").exists()
}

fn has_headers(folder: &Path) -> bool {
    let versions = std::fs::read_dir(folder.join("clang"))
        .into_iter()
        .flatten()
        .flatten();
    versions
        .into_iter()
        .any(|version| version.path().join("include/stddef.h").exists())
}

/// The words that `pkg-config ARGUMENT libdpdk` prints.
fn pkg_config(argument: &str) -> Vec<String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    match Command::new(&program).args([argument, "libdpdk"]).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        Ok(output) => fail(&format!(
            "pkg-config does not find libdpdk: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => fail(&format!("cannot run {program}: {error}")),
    }
}

fn fail(reason: &str) -> ! {
    eprintln!("\nrewire-dpdk-sys: {reason}");
    eprintln!("On Debian 12: apt-get install {PACKAGES}");
    eprintln!("To build without DPDK: cargo build --no-default-features\n");
    std::process::exit(1);
}

//! Raw bindings to DPDK 22.11: what `rewire-dpdk` calls, and no more.
//!
//! The build finds DPDK by `pkg-config`, takes Debian's packages `libdpdk-dev pkgconf clang-14
//! libclang-14-dev`, and says so when they are missing. Functions that DPDK defines inline come
//! through a C shim, with the prefix `rewire_`. A shim call costs about 1.6 ns.
//!
//! DPDK is linked dynamically. No driver is linked: in a dynamic build the EAL itself loads every
//! driver in Debian's plugin folder (`/usr/lib/<arch>/dpdk/pmds-23.0`) when it starts, so the
//! machine that runs Rewire needs the packages `librte-meta-net` and `librte-meta-mempool`
//! (`libdpdk-dev` brings them in).
//!
//! Adding a function: name it in `build.rs`; where DPDK has it `static inline`, wrap it in
//! `shim.c`.

#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unused_qualifications,
    unreachable_pub,
    dead_code,
    rustdoc::all,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;

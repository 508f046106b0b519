//! End-to-end tests: the real binary between real kernels, in network namespaces of each test's own.
//!
//! A [`Lab`] is the world of a test: hosts in two VPCs and in an internet, cables, a store, and the gateway. It goes away
//! with everything that it started; if the test fails, it first prints what the gateway has to say.
//!
//! The tests take root. Without it they are skipped and say so. They need `target/…/rewire` beside them, which
//! `cargo nextest run --workspace` builds (`make test`); `-p rewire-tests` alone does not build it anew.

mod browser;
mod collector;
pub mod documents;
mod exchange;
mod frr;
mod lab;
mod metrics;
mod namespace;
mod nfdump;
mod ping;
mod process;
mod recording;
mod stun;
mod wait;

pub use browser::Browser;
pub use collector::Collector;
pub use exchange::{Exchange, tcp_pair, tcp_pair_within, udp_echo, udp_echoes};
pub use frr::Frr;
pub use lab::{Answer, Lab};
pub use metrics::Metrics;
pub use namespace::{IpBytes, Namespace};
pub use nfdump::{FlowCollector, LoopbackCapture};
pub use ping::{Ping, RunningPing};
pub use process::Running;
pub use recording::{assert_alike, recorded};
pub use stun::{StunServer, nat_discovery};
pub use wait::{PATIENCE, until, until_for};

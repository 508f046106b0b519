//! What the gateway runs on: DPDK's ports, or virtual ones.

use rewire_dataplane::offload::OffloadConfig;
use rewire_dataplane::port::memory::MemoryDriver;
use rewire_dataplane::{Gateway, GatewayConfig, GatewayError};

use super::Options;
use crate::failure::{Code, Failure};

/// A running gateway, and what there is to say about it.
pub(crate) struct Platform {
    pub(crate) gateway: Gateway,
    /// The name of what opens the ports.
    pub(crate) driver: &'static str,
    /// Whether packets lie in hugepages; none where no packet comes in.
    pub(crate) hugepages: Option<bool>,
}

impl Platform {
    /// Starts the gateway with empty tables.
    pub(crate) fn start(options: &Options) -> Result<Platform, Failure> {
        let config = GatewayConfig {
            workers: options.workers,
            connections_file: options.connections.clone(),
            offload: Some(OffloadConfig::default()),
            ..GatewayConfig::default()
        };
        #[cfg(feature = "dpdk")]
        if !options.virtual_ports {
            return dpdk(options, config);
        }
        #[cfg(not(feature = "dpdk"))]
        tracing::debug!(
            options.hugepages,
            options.mempool_buffers,
            ?options.faults,
            options.modelled_card,
            "of no use without DPDK"
        );
        let why = if options.virtual_ports {
            "as asked for"
        } else {
            "this rewire is built without DPDK"
        };
        tracing::warn!("ports are virtual, {why}: no packet comes in or goes out");
        let gateway = Gateway::start(config, MemoryDriver::default())
            .map_err(|error| cannot_start(&error))?;
        Ok(Platform {
            gateway,
            driver: "virtual",
            hugepages: None,
        })
    }
}

fn cannot_start(error: &GatewayError) -> Failure {
    Failure::new(Code::Failed, format!("cannot start the gateway: {error}"))
}

#[cfg(feature = "dpdk")]
fn dpdk(options: &Options, config: GatewayConfig) -> Result<Platform, Failure> {
    use std::sync::Arc;

    use rewire_dataplane::offload::{CardConfig, ModelledCard};
    use rewire_dataplane::port::carded::CardedDriver;
    use rewire_dataplane::port::dpdk::DpdkDriver;
    use rewire_dataplane::port::faulty::FaultyDriver;
    use rewire_dpdk::{Eal, EalConfig};

    /// What one buffer takes with its headers, rounded up, in KiB.
    const BUFFER_KIB: u32 = 10;
    /// What DPDK needs beside the buffers: devices, rings, caches. In MiB.
    const BESIDE: u32 = 64;

    let failed = |error: rewire_dpdk::Error| {
        Failure::new(Code::Failed, format!("cannot start DPDK: {error}"))
            .help("--virtual runs without, for everything but packets")
    };
    let buffers_mib = (u64::from(options.mempool_buffers) * u64::from(BUFFER_KIB)).div_ceil(1024);
    let memory = u32::try_from(buffers_mib)
        .unwrap_or(u32::MAX)
        .saturating_add(BESIDE);
    let eal_config = EalConfig {
        memory,
        hugepages: options.hugepages,
        ..EalConfig::default()
    };
    let eal = Arc::new(Eal::init(&eal_config).map_err(failed)?);
    let hugepages = Some(eal.has_hugepages());
    let driver = DpdkDriver::new(eal, options.mempool_buffers).map_err(failed)?;
    let gateway = match (options.faults, options.modelled_card) {
        (Some(faults), _) => {
            tracing::warn!(?faults, "frames are lost, late or doubled, as asked for");
            Gateway::start(config, FaultyDriver::new(driver, faults))
        }
        (None, true) => {
            tracing::warn!("a card in software is in front of all ports, as asked for");
            let card = ModelledCard::new(CardConfig::default());
            Gateway::start(config, CardedDriver::new(driver, card))
        }
        (None, false) => Gateway::start(config, driver),
    };
    let gateway = gateway.map_err(|error| cannot_start(&error))?;
    Ok(Platform {
        gateway,
        driver: "dpdk",
        hugepages,
    })
}

//! DPDK's flow API: rules by which a device handles packets itself (`rte_flow`).
//!
//! A [`FlowEngine`] is a port's. Rules are *transfer* rules: they take packets from a wire and send them to a wire. Two ways
//! lead into the device:
//!
//! - *Synchronous*, one call a rule: [`create`](FlowEngine::create) and [`destroy`](FlowEngine::destroy). Slow, and what most
//!   drivers have.
//! - *Asynchronous*, by templates: [`configure_flows`](Port::configure_flows) before the port is started, a
//!   [table](FlowEngine::add_table) for rules of one shape, then operations that are [enqueued](FlowEngine::enqueue_create),
//!   [handed over](FlowEngine::push) and [completed](FlowEngine::pull) in any order.
//!
//! Handles are safe by type: a [`FlowRule`] cannot be copied, is only had once the device has the rule, and is given up to be
//! destroyed. An engine keeps its port open; dropping it removes its rules, tables and templates.

mod action;
mod engine;
mod item;
mod queue;
mod table;

pub use action::{FlowAction, LARGEST_ACTIONS};
pub use engine::{FlowCount, FlowEngine, FlowRule};
pub use item::{
    EthernetFields, FlowItem, Ipv4Fields, Ipv6Fields, LARGEST_PATTERN, TcpFields, UdpFields,
};
pub use queue::Completion;
pub use table::FlowTable;

use std::mem::MaybeUninit;

use rewire_dpdk_sys as sys;

use crate::port::{Configured, Port};
use crate::{Error, error};

/// How much a device's engine of asynchronous rules can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowLimits {
    /// Operations that are under way in a queue.
    pub queue_size: u32,
    /// Counters, for [`FlowAction::Count`].
    pub counters: u32,
    /// Rules that age, for [`FlowAction::Age`].
    pub aging: u32,
}

/// What is asked of an engine of asynchronous rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowConfig {
    /// Operations that can be under way.
    pub queue_size: u32,
    /// Rules with [`FlowAction::Count`].
    pub counters: u32,
    /// Rules with [`FlowAction::Age`].
    pub aging: u32,
}

impl Port<Configured> {
    /// What the device can hold of asynchronous rules.
    ///
    /// # Errors
    ///
    /// [`Error::Flow`]; with `ENOTSUP` or `ENOSYS` the device has none.
    pub fn flow_limits(&self) -> Result<FlowLimits, Error> {
        let mut port = MaybeUninit::<sys::rte_flow_port_info>::zeroed();
        let mut queue = MaybeUninit::<sys::rte_flow_queue_info>::zeroed();
        let (port, queue) = self.inner.flow_call("ask its limits", |error| {
            // SAFETY: a configured port, and places for the answers, of which all zeroes is one.
            unsafe {
                match sys::rte_flow_info_get(
                    self.inner.id,
                    port.as_mut_ptr(),
                    queue.as_mut_ptr(),
                    error,
                ) {
                    0 => Ok((port.assume_init(), queue.assume_init())),
                    code => Err(code),
                }
            }
        })?;
        Ok(FlowLimits {
            queue_size: if port.max_nb_queues > 0 {
                queue.max_size
            } else {
                0
            },
            counters: port.max_nb_counters,
            aging: port.max_nb_aging_objects,
        })
    }

    /// Sets up the engine of asynchronous rules, with one queue. Once, and before the port is started.
    ///
    /// # Errors
    ///
    /// [`Error::Flow`] if that is over the [limits](Self::flow_limits), or the device has none.
    pub fn configure_flows(&mut self, config: &FlowConfig) -> Result<(), Error> {
        let attributes = sys::rte_flow_port_attr {
            nb_counters: config.counters,
            nb_aging_objects: config.aging,
            nb_meters: 0,
            nb_conn_tracks: 0,
            flags: 0,
        };
        let queue = sys::rte_flow_queue_attr {
            size: config.queue_size,
        };
        let mut queues = [std::ptr::from_ref(&queue)];
        self.inner.flow_call("set its engine up", |error| {
            // SAFETY: a configured port that is not started, and one queue's attributes.
            let code = unsafe {
                sys::rte_flow_configure(self.inner.id, &attributes, 1, queues.as_mut_ptr(), error)
            };
            if code == 0 { Ok(()) } else { Err(code) }
        })?;
        self.inner.set_flow_queue(config.queue_size);
        Ok(())
    }
}

impl crate::port::PortInner {
    /// Calls one of DPDK's flow functions; `Err` is the error number that it returned or left, below 0.
    pub(crate) fn flow_call<T>(
        &self,
        step: &'static str,
        call: impl FnOnce(*mut sys::rte_flow_error) -> Result<T, i32>,
    ) -> Result<T, Error> {
        let mut said = MaybeUninit::<sys::rte_flow_error>::zeroed();
        call(said.as_mut_ptr()).map_err(|code| {
            // SAFETY: zeroed, of which no message is a part, or filled in by the driver.
            let message = unsafe { said.assume_init() }.message;
            let reason = if message.is_null() {
                error::of_code(code).to_string()
            } else {
                // SAFETY: drivers' messages are string literals, and those of DPDK itself are static or of this thread.
                let message = unsafe { std::ffi::CStr::from_ptr(message) };
                message.to_string_lossy().into_owned()
            };
            Error::Flow {
                port: self.name().to_owned(),
                step,
                code: code.saturating_neg(),
                reason,
            }
        })
    }
}

/// The error number that DPDK left for this thread, below 0, where a function returned no pointer.
fn left_code() -> i32 {
    match error::of_thread().raw_os_error() {
        Some(code) if code > 0 => -code,
        _ => -libc::EINVAL,
    }
}

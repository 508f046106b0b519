//! The engine of a port: its rules, what they counted, and synchronous calls.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rewire_dpdk_sys as sys;

use super::action::with_actions;
use super::item::with_items;
use super::queue::Queue;
use super::table::Table;
use super::{FlowAction, FlowItem, left_code};
use crate::Error;
use crate::port::{Port, PortInner, Started};

/// The rules of a port. One thread's at a time: it may be sent to another. It keeps the port open, and removes its rules when
/// it is dropped.
#[derive(Debug)]
pub struct FlowEngine {
    pub(super) number: u32,
    pub(super) tables: Vec<Table>,
    pub(super) queue: Option<Queue>,
    pub(super) port: Arc<PortInner>,
}

// SAFETY: DPDK's handles are of the port and not of a thread; all calls take `&mut self` or only read.
unsafe impl Send for FlowEngine {}

/// A rule that a device has. Dropping it leaves the rule there until its engine is dropped.
#[derive(Debug)]
#[must_use = "the rule stays in the device until it is destroyed"]
pub struct FlowRule {
    pub(super) handle: NonNull<sys::rte_flow>,
    pub(super) engine: u32,
    pub(super) queued: bool,
}

// SAFETY: a handle is of the port and not of a thread, and only used through its engine.
unsafe impl Send for FlowRule {}

/// What a rule with [`FlowAction::Count`] has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowCount {
    /// Packets.
    pub packets: u64,
    /// Their bytes, from the Ethernet header on.
    pub bytes: u64,
}

static NEXT_ENGINE: AtomicU32 = AtomicU32::new(0);

impl Port<Started> {
    /// The port's engine of rules. There is one: none is left for who asks second.
    pub fn take_flow_engine(&mut self) -> Option<FlowEngine> {
        let queue = self.inner.take_flow_queue()?;
        Some(FlowEngine {
            number: NEXT_ENGINE.fetch_add(1, Ordering::Relaxed),
            tables: Vec::new(),
            queue: (queue > 0).then(|| Queue::new(queue)),
            port: Arc::clone(&self.inner),
        })
    }
}

/// Transfer rules of this priority; 0 comes first.
pub(super) fn attributes(priority: u32) -> sys::rte_flow_attr {
    attributes_of(priority, true)
}

fn attributes_of(priority: u32, transfer: bool) -> sys::rte_flow_attr {
    let mut attributes = sys::rte_flow_attr {
        priority,
        ..sys::rte_flow_attr::default()
    };
    attributes.set_transfer(u32::from(transfer));
    attributes.set_ingress(u32::from(!transfer));
    attributes
}

impl FlowEngine {
    /// The port's number, as in [`Port::id`].
    pub fn port_id(&self) -> u16 {
        self.port.id
    }

    /// Whether the engine was [set up](Port::configure_flows) for asynchronous rules.
    pub fn is_asynchronous(&self) -> bool {
        self.queue.is_some()
    }

    /// Asks whether the device could have such a rule, without making it.
    ///
    /// # Errors
    ///
    /// [`Error::Flow`] with what it cannot.
    pub fn validate(
        &self,
        priority: u32,
        items: &[FlowItem],
        actions: &[FlowAction],
    ) -> Result<(), Error> {
        self.validate_as(attributes(priority), items, actions)
    }

    /// The same, of a rule for what the port receives (`ingress`) and not between wires.
    ///
    /// # Errors
    ///
    /// [`Error::Flow`] with what it cannot.
    pub fn validate_ingress(
        &self,
        items: &[FlowItem],
        actions: &[FlowAction],
    ) -> Result<(), Error> {
        self.validate_as(attributes_of(0, false), items, actions)
    }

    fn validate_as(
        &self,
        attributes: sys::rte_flow_attr,
        items: &[FlowItem],
        actions: &[FlowAction],
    ) -> Result<(), Error> {
        self.port.flow_call("take a rule", |error| {
            let code = with_items(items, |items| {
                with_actions(actions, true, |actions| {
                    // SAFETY: a started port; lists that end with an end.
                    unsafe {
                        sys::rte_flow_validate(self.port.id, &attributes, items, actions, error)
                    }
                })
            });
            match code.flatten() {
                Some(0) => Ok(()),
                Some(code) => Err(code),
                None => Err(-libc::E2BIG),
            }
        })
    }

    /// Makes a rule, and waits for it. Of two that match, the one of the lower `priority` counts.
    ///
    /// # Errors
    ///
    /// [`Error::Flow`] with what the device cannot, or that it has no room.
    pub fn create(
        &mut self,
        priority: u32,
        items: &[FlowItem],
        actions: &[FlowAction],
    ) -> Result<FlowRule, Error> {
        let attributes = attributes(priority);
        let handle = self.port.flow_call("make a rule", |error| {
            let made = with_items(items, |items| {
                with_actions(actions, true, |actions| {
                    // SAFETY: as above.
                    let made = unsafe {
                        sys::rte_flow_create(self.port.id, &attributes, items, actions, error)
                    };
                    NonNull::new(made).ok_or_else(left_code)
                })
            });
            made.flatten().unwrap_or(Err(-libc::E2BIG))
        })?;
        Ok(FlowRule {
            handle,
            engine: self.number,
            queued: false,
        })
    }

    /// Removes a rule that [`create`](Self::create) made, and waits for it.
    ///
    /// # Errors
    ///
    /// The rule again, and [`Error::Flow`] with why not; `ENOENT` if it is of another engine or asynchronous.
    pub fn destroy(&mut self, rule: FlowRule) -> Result<(), (FlowRule, Error)> {
        let foreign = rule.engine != self.number || rule.queued;
        let destroyed = self.port.flow_call("destroy a rule", |error| {
            if foreign {
                return Err(-libc::ENOENT);
            }
            // SAFETY: a rule of this port, that nobody else names.
            match unsafe { sys::rte_flow_destroy(self.port.id, rule.handle.as_ptr(), error) } {
                0 => Ok(()),
                code => Err(code),
            }
        });
        destroyed.map_err(|error| (rule, error))
    }

    /// What a rule with [`FlowAction::Count`] has counted. A call of the driver, perhaps of the device.
    ///
    /// # Errors
    ///
    /// [`Error::Flow`]; `ENOENT` if the rule is of another engine.
    pub fn counted(&self, rule: &FlowRule) -> Result<FlowCount, Error> {
        let mut count = sys::rte_flow_query_count::default();
        let place = std::ptr::from_mut(&mut count).cast();
        self.query(rule, FlowAction::Count, place)?;
        Ok(FlowCount {
            packets: if count.hits_set() == 1 { count.hits } else { 0 },
            bytes: if count.bytes_set() == 1 {
                count.bytes
            } else {
                0
            },
        })
    }

    /// Seconds since a rule with [`FlowAction::Age`] matched last; none where the device does not know.
    ///
    /// # Errors
    ///
    /// As [`counted`](Self::counted).
    pub fn idle_seconds(&self, rule: &FlowRule) -> Result<Option<u32>, Error> {
        let mut age = sys::rte_flow_query_age::default();
        let place = std::ptr::from_mut(&mut age).cast();
        let age_action = FlowAction::Age {
            seconds: 0,
            context: 0,
        };
        self.query(rule, age_action, place)?;
        Ok((age.sec_since_last_hit_valid() == 1).then(|| age.sec_since_last_hit()))
    }

    /// `data` is the answer's place, as the action has it.
    fn query(&self, rule: &FlowRule, action: FlowAction, data: *mut c_void) -> Result<(), Error> {
        self.port.flow_call("read a rule", |error| {
            if rule.engine != self.number {
                return Err(-libc::ENOENT);
            }
            let code = with_actions(&[action], true, |actions| {
                // SAFETY: a rule of this port that is there, and a place for what this action answers.
                unsafe {
                    sys::rte_flow_query(self.port.id, rule.handle.as_ptr(), actions, data, error)
                }
            });
            match code {
                Some(0) => Ok(()),
                Some(code) => Err(code),
                None => Err(-libc::E2BIG),
            }
        })
    }

    /// Fills `contexts` from its front with those of rules that nothing matched for as long as their
    /// [`FlowAction::Age`] says, and returns how many.
    ///
    /// # Errors
    ///
    /// [`Error::Flow`]; `ENOTSUP` if the device does not tell.
    pub fn aged(&mut self, contexts: &mut [u64]) -> Result<usize, Error> {
        let mut places = [std::ptr::null_mut::<c_void>(); 64];
        // 0 would ask how many there are.
        let asked = contexts.len().min(places.len());
        if asked == 0 {
            return Ok(0);
        }
        let number = self.port.flow_call("tell what has aged", |error| {
            // SAFETY: a started port; places for `asked` pointers, which are the numbers that rules were made with.
            let number = unsafe {
                sys::rte_flow_get_aged_flows(self.port.id, places.as_mut_ptr(), asked as u32, error)
            };
            usize::try_from(number).map_err(|_| number)
        })?;
        let number = number.min(asked);
        for (context, place) in contexts.iter_mut().zip(&places[..number]) {
            *context = place.addr() as u64;
        }
        Ok(number)
    }
}

impl Drop for FlowEngine {
    fn drop(&mut self) {
        self.drain();
        let flushed = self.port.flow_call("remove its rules", |error| {
            // SAFETY: a started port. Rules that are named still belong to this engine, and cannot be used without it.
            match unsafe { sys::rte_flow_flush(self.port.id, error) } {
                0 => Ok(()),
                code => Err(code),
            }
        });
        match flushed {
            Ok(()) => {}
            // It never had any.
            Err(Error::Flow { code, .. }) if code == libc::ENOSYS || code == libc::ENOTSUP => {}
            Err(error) => tracing::warn!(%error, "rules stay until their port is closed"),
        }
        for table in std::mem::take(&mut self.tables) {
            table.destroy(&self.port);
        }
    }
}

//! Asynchronous operations.

use std::ptr::NonNull;

use arrayvec::ArrayVec;
use rewire_dpdk_sys as sys;

use super::action::{as_pointer, with_actions};
use super::item::with_items;
use super::{FlowAction, FlowEngine, FlowItem, FlowRule, FlowTable, left_code};
use crate::Error;

/// An operation that the device has done, or failed to do. `user` is what it was enqueued with.
#[derive(Debug)]
pub enum Completion {
    /// The rule is there.
    Created {
        /// What it was enqueued with.
        user: u64,
        /// The rule.
        rule: FlowRule,
    },
    /// The rule was refused. Nothing is left of it.
    NotCreated {
        /// What it was enqueued with.
        user: u64,
    },
    /// The rule is gone.
    Destroyed {
        /// What it was enqueued with.
        user: u64,
    },
    /// The rule could not be removed, and is there still.
    NotDestroyed {
        /// What it was enqueued with.
        user: u64,
        /// The rule.
        rule: FlowRule,
    },
}

/// What an operation under way is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Create,
    Destroy,
    /// Of a rule that was refused: its handle is to be given back, and nobody is told.
    Discard,
}

#[derive(Debug, Clone, Copy)]
struct Operation {
    kind: Kind,
    user: u64,
    handle: NonNull<sys::rte_flow>,
}

/// What is under way, by the number that DPDK hands back.
#[derive(Debug)]
pub(super) struct Queue {
    operations: Vec<Option<Operation>>,
    free: Vec<u32>,
    /// Handles of refused rules that found the queue full.
    to_discard: Vec<NonNull<sys::rte_flow>>,
}

impl Queue {
    pub(super) fn new(size: u32) -> Queue {
        Queue {
            operations: vec![None; size as usize],
            free: (0..size).rev().collect(),
            to_discard: Vec::with_capacity(size as usize),
        }
    }

    fn begin(&mut self, operation: Operation) -> Option<u32> {
        let place = self.free.pop()?;
        self.operations[place as usize] = Some(operation);
        Some(place)
    }

    fn end(&mut self, place: u64) -> Option<Operation> {
        let operation = self
            .operations
            .get_mut(usize::try_from(place).ok()?)?
            .take()?;
        self.free.push(place as u32);
        Some(operation)
    }

    fn under_way(&self) -> usize {
        self.operations.len() - self.free.len()
    }
}

/// The one queue that [`Port::configure_flows`](crate::Port::configure_flows) sets up.
const QUEUE: u32 = 0;
/// Completions that are fetched at once.
const PULL: usize = 64;

/// Operations wait for the push.
fn postponed() -> sys::rte_flow_op_attr {
    let mut attributes = sys::rte_flow_op_attr::default();
    attributes.set_postpone(1);
    attributes
}

impl FlowEngine {
    /// How many operations can be enqueued before some complete.
    pub fn room(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.free.len())
    }

    /// Whether operations are under way, or handles of refused rules are to be given back.
    pub fn is_busy(&self) -> bool {
        self.queue
            .as_ref()
            .is_some_and(|queue| queue.under_way() > 0 || !queue.to_discard.is_empty())
    }

    /// Enqueues a rule with the items of a table and one of its lists of actions; `user` comes back with the completion.
    ///
    /// # Errors
    ///
    /// [`Error::FlowQueueFull`], and [`Error::Flow`] if the rule does not fit the table (`EINVAL`), or the device has no room.
    pub fn enqueue_create(
        &mut self,
        table: FlowTable,
        items: &[FlowItem],
        actions: &[FlowAction],
        user: u64,
    ) -> Result<(), Error> {
        let port = &self.port;
        let fitting = (table.engine == self.number)
            .then(|| self.tables.get(table.index))
            .flatten()
            .and_then(|table| Some((table.table, table.fits(items, actions)?)));
        let Some(queue) = self.queue.as_mut().filter(|queue| !queue.free.is_empty()) else {
            return Err(Error::FlowQueueFull);
        };
        let place = queue.free.last().copied().unwrap_or_default();
        let handle = port.flow_call("enqueue a rule", |error| {
            let (table, shape) = fitting.ok_or(-libc::EINVAL)?;
            let attributes = postponed();
            let made = with_items(items, |items| {
                with_actions(actions, true, |actions| {
                    // SAFETY: a table of this port, lists of the kinds that its templates have, a queue that has room.
                    let made = unsafe {
                        sys::rte_flow_async_create(
                            port.id,
                            QUEUE,
                            &attributes,
                            table.as_ptr(),
                            items,
                            0,
                            actions,
                            shape,
                            as_pointer(u64::from(place)),
                            error,
                        )
                    };
                    NonNull::new(made).ok_or_else(left_code)
                })
            });
            made.flatten().unwrap_or(Err(-libc::E2BIG))
        })?;
        queue.begin(Operation {
            kind: Kind::Create,
            user,
            handle,
        });
        Ok(())
    }

    /// Enqueues the removal of a rule; `user` comes back with the completion.
    ///
    /// # Errors
    ///
    /// The rule again, and [`Error::FlowQueueFull`] or [`Error::Flow`] with why not; `ENOENT` if it is of another engine or was
    /// made synchronously.
    pub fn enqueue_destroy(&mut self, rule: FlowRule, user: u64) -> Result<(), (FlowRule, Error)> {
        let foreign = rule.engine != self.number || !rule.queued;
        match self.enqueue_removal(rule.handle, foreign, user, Kind::Destroy) {
            Ok(()) => Ok(()),
            Err(error) => Err((rule, error)),
        }
    }

    fn enqueue_removal(
        &mut self,
        handle: NonNull<sys::rte_flow>,
        foreign: bool,
        user: u64,
        kind: Kind,
    ) -> Result<(), Error> {
        let port = &self.port;
        let Some(queue) = self.queue.as_mut().filter(|queue| !queue.free.is_empty()) else {
            return Err(Error::FlowQueueFull);
        };
        let place = queue.free.last().copied().unwrap_or_default();
        port.flow_call("enqueue a removal", |error| {
            if foreign {
                return Err(-libc::ENOENT);
            }
            let attributes = postponed();
            // SAFETY: a rule of this port and queue that is complete, and that nobody else names.
            let code = unsafe {
                sys::rte_flow_async_destroy(
                    port.id,
                    QUEUE,
                    &attributes,
                    handle.as_ptr(),
                    as_pointer(u64::from(place)),
                    error,
                )
            };
            if code == 0 { Ok(()) } else { Err(code) }
        })?;
        queue.begin(Operation { kind, user, handle });
        Ok(())
    }

    /// Hands all that was enqueued to the device.
    ///
    /// # Errors
    ///
    /// [`Error::Flow`]; what was enqueued stays so.
    pub fn push(&mut self) -> Result<(), Error> {
        if self.queue.is_none() {
            return Ok(());
        }
        self.port.flow_call("push", |error| {
            // SAFETY: a port whose engine is set up with this queue.
            match unsafe { sys::rte_flow_push(self.port.id, QUEUE, error) } {
                0 => Ok(()),
                code => Err(code),
            }
        })
    }

    /// Adds what the device has done to `completions`, as much as there is room for. Never waits. A device may want it called
    /// to make progress.
    ///
    /// # Errors
    ///
    /// [`Error::Flow`]; what was done comes with a later call.
    pub fn pull<const N: usize>(
        &mut self,
        completions: &mut ArrayVec<Completion, N>,
    ) -> Result<(), Error> {
        let Some(queue) = &mut self.queue else {
            return Ok(());
        };
        let room = completions.remaining_capacity().min(PULL);
        if room == 0 || queue.under_way() == 0 {
            return Ok(());
        }
        // SAFETY: numbers and pointers that nobody follows, of which all zeroes is a value.
        let mut results: [sys::rte_flow_op_result; PULL] = unsafe { std::mem::zeroed() };
        let number = self.port.flow_call("pull", |error| {
            // SAFETY: a port whose engine is set up with this queue; places for `room` results.
            let number = unsafe {
                sys::rte_flow_pull(
                    self.port.id,
                    QUEUE,
                    results.as_mut_ptr(),
                    room as u16,
                    error,
                )
            };
            usize::try_from(number).map_err(|_| number)
        })?;
        for result in &results[..number.min(room)] {
            let done = result.status == sys::rte_flow_op_status_RTE_FLOW_OP_SUCCESS;
            let Some(operation) = queue.end(result.user_data.addr() as u64) else {
                tracing::error!("a device completed a flow operation that nobody began");
                continue;
            };
            let Operation { kind, user, handle } = operation;
            let rule = FlowRule {
                handle,
                engine: self.number,
                queued: true,
            };
            match (kind, done) {
                (Kind::Create, true) => completions.push(Completion::Created { user, rule }),
                (Kind::Create, false) => {
                    queue.to_discard.push(handle);
                    completions.push(Completion::NotCreated { user });
                }
                (Kind::Destroy, true) => completions.push(Completion::Destroyed { user }),
                (Kind::Destroy, false) => {
                    completions.push(Completion::NotDestroyed { user, rule });
                }
                (Kind::Discard, true) => {}
                (Kind::Discard, false) => tracing::warn!("a device keeps a rule that it refused"),
            }
        }
        self.discard();
        Ok(())
    }

    /// Gives the handles of refused rules back.
    fn discard(&mut self) {
        let Some(queue) = &mut self.queue else { return };
        if queue.to_discard.is_empty() {
            return;
        }
        while let Some(handle) = self.queue.as_mut().and_then(|queue| queue.to_discard.pop()) {
            match self.enqueue_removal(handle, false, 0, Kind::Discard) {
                Ok(()) => {}
                Err(Error::FlowQueueFull) => {
                    if let Some(queue) = &mut self.queue {
                        queue.to_discard.push(handle);
                    }
                    break;
                }
                Err(error) => tracing::warn!(%error, "a device keeps a rule that it refused"),
            }
        }
        if let Err(error) = self.push() {
            tracing::warn!(%error, "a device keeps rules that it refused");
        }
    }

    /// Waits for what is under way, at the end; a device that does not answer is not waited for for long. Rules that are
    /// complete stay, for the flush.
    pub(super) fn drain(&mut self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(1);
        let mut completions = ArrayVec::<Completion, PULL>::new();
        while self.is_busy() {
            let failed = self.push().is_err() || self.pull(&mut completions).is_err();
            completions.clear();
            if failed || std::time::Instant::now() > deadline {
                tracing::warn!("flow operations are under way while their port is closed");
                return;
            }
        }
    }
}

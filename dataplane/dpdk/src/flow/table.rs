//! Tables: room for rules of one shape.

use std::ptr::NonNull;

use arrayvec::ArrayVec;
use rewire_dpdk_sys as sys;

use super::action::with_actions;
use super::item::with_items;
use super::{FlowAction, FlowEngine, FlowItem, LARGEST_ACTIONS, LARGEST_PATTERN, left_code};
use crate::Error;
use crate::port::PortInner;

/// Names a table of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowTable {
    pub(super) engine: u32,
    pub(super) index: usize,
}

/// A table with its templates.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) table: NonNull<sys::rte_flow_template_table>,
    pattern: NonNull<sys::rte_flow_pattern_template>,
    actions: Vec<NonNull<sys::rte_flow_actions_template>>,
    items: ArrayVec<sys::rte_flow_item_type, LARGEST_PATTERN>,
    shapes: Vec<ArrayVec<sys::rte_flow_action_type, LARGEST_ACTIONS>>,
}

impl Table {
    /// The number of the template with these actions. Drivers do not check, and would take one thing for another.
    pub(super) fn fits(&self, items: &[FlowItem], actions: &[FlowAction]) -> Option<u8> {
        let same = self
            .items
            .iter()
            .copied()
            .eq(items.iter().map(FlowItem::kind));
        let shape = self.shapes.iter().position(|shape| {
            shape
                .iter()
                .copied()
                .eq(actions.iter().map(FlowAction::kind))
        })?;
        same.then_some(shape as u8)
    }

    /// Everything but the rules, which are gone already.
    pub(super) fn destroy(self, port: &PortInner) {
        let destroyed = port.flow_call("destroy a table", |error| {
            // SAFETY: a table of this port, that nobody has any more.
            let code = unsafe {
                sys::rte_flow_template_table_destroy(port.id, self.table.as_ptr(), error)
            };
            if code == 0 { Ok(()) } else { Err(code) }
        });
        if let Err(error) = destroyed {
            // Its templates are in use then, and go with the port.
            tracing::warn!(%error, "a table of rules stays until its port is closed");
            return;
        }
        let templates = Templates {
            port,
            pattern: self.pattern,
            actions: self.actions,
        };
        drop(templates);
    }
}

/// Templates on their way into a table: destroyed if they do not get there.
struct Templates<'a> {
    port: &'a PortInner,
    pattern: NonNull<sys::rte_flow_pattern_template>,
    actions: Vec<NonNull<sys::rte_flow_actions_template>>,
}

impl Drop for Templates<'_> {
    fn drop(&mut self) {
        let (id, none) = (self.port.id, std::ptr::null_mut());
        // SAFETY: a template of this port that no table has, as those below.
        unsafe { sys::rte_flow_pattern_template_destroy(id, self.pattern.as_ptr(), none) };
        for template in self.actions.drain(..) {
            // SAFETY: as above.
            unsafe { sys::rte_flow_actions_template_destroy(id, template.as_ptr(), none) };
        }
    }
}

impl<'a> Templates<'a> {
    fn new(port: &'a PortInner, items: &[FlowItem]) -> Result<Templates<'a>, Error> {
        let mut attributes = sys::rte_flow_pattern_template_attr::default();
        attributes.set_relaxed_matching(1);
        attributes.set_transfer(1);
        let pattern = port.flow_call("make a pattern template", |error| {
            with_items(items, |list| {
                // SAFETY: a configured port; a list that ends with an end.
                let made = unsafe {
                    sys::rte_flow_pattern_template_create(port.id, &attributes, list, error)
                };
                NonNull::new(made).ok_or_else(left_code)
            })
            .unwrap_or(Err(-libc::E2BIG))
        })?;
        Ok(Templates {
            port,
            pattern,
            actions: Vec::new(),
        })
    }

    fn add_actions(&mut self, actions: &[FlowAction]) -> Result<(), Error> {
        let port = self.port;
        let mut attributes = sys::rte_flow_actions_template_attr::default();
        attributes.set_transfer(1);
        let template = port.flow_call("make an actions template", |error| {
            with_actions(actions, true, |list| {
                with_actions(actions, false, |masks| {
                    // SAFETY: a configured port; two lists of the same actions that end with an end.
                    let made = unsafe {
                        sys::rte_flow_actions_template_create(
                            port.id,
                            &attributes,
                            list,
                            masks,
                            error,
                        )
                    };
                    NonNull::new(made).ok_or_else(left_code)
                })
            })
            .flatten()
            .unwrap_or(Err(-libc::E2BIG))
        })?;
        self.actions.push(template);
        Ok(())
    }
}

impl FlowEngine {
    /// Makes a table for at most `rules` asynchronous rules that match the fields of `items` that are masked there, and do one
    /// of the lists of `actions`, whatever the values. Of two tables that match, that of the lower `priority` counts. Devices
    /// reserve memory for all rules at once.
    ///
    /// # Errors
    ///
    /// [`Error::Flow`] with what the device cannot match or do, or if the port was not
    /// [set up](crate::Port::configure_flows) for it.
    pub fn add_table(
        &mut self,
        priority: u32,
        rules: u32,
        items: &[FlowItem],
        actions: &[&[FlowAction]],
    ) -> Result<FlowTable, Error> {
        let port = &*self.port;
        let mut templates = Templates::new(port, items)?;
        for actions in actions {
            templates.add_actions(actions)?;
        }
        let attributes = sys::rte_flow_template_table_attr {
            flow_attr: super::engine::attributes(priority),
            nb_flows: rules,
        };
        let mut patterns = [templates.pattern.as_ptr()];
        let mut lists: Vec<_> = templates.actions.iter().map(|a| a.as_ptr()).collect();
        let table = port.flow_call("make a table", |error| {
            let number = u8::try_from(lists.len()).map_err(|_| -libc::E2BIG)?;
            // SAFETY: a configured port, and templates of it, as many as is said.
            let made = unsafe {
                sys::rte_flow_template_table_create(
                    port.id,
                    &attributes,
                    patterns.as_mut_ptr(),
                    1,
                    lists.as_mut_ptr(),
                    number,
                    error,
                )
            };
            NonNull::new(made).ok_or_else(left_code)
        })?;
        let kinds = |actions: &&[FlowAction]| actions.iter().map(FlowAction::kind).collect();
        let table = Table {
            table,
            pattern: templates.pattern,
            actions: std::mem::take(&mut templates.actions),
            items: items.iter().map(FlowItem::kind).collect(),
            shapes: actions.iter().map(kinds).collect(),
        };
        // They are the table's now.
        std::mem::forget(templates);
        self.tables.push(table);
        Ok(FlowTable {
            engine: self.number,
            index: self.tables.len() - 1,
        })
    }
}

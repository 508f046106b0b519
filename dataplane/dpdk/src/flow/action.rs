//! What a rule does, and how DPDK has it said.

use std::ffi::c_void;
use std::ptr;

use arrayvec::ArrayVec;
use rewire_dpdk_sys as sys;

/// Actions of a rule, at most.
pub const LARGEST_ACTIONS: usize = 12;

/// One action of a rule. Numbers are in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowAction {
    /// Writes the Ethernet source.
    SetSourceMac([u8; 6]),
    /// Writes the Ethernet destination.
    SetDestinationMac([u8; 6]),
    /// Writes the IPv4 source, and mends the checksums, as all that follow do.
    SetIpv4Source([u8; 4]),
    /// Writes the IPv4 destination.
    SetIpv4Destination([u8; 4]),
    /// Writes the IPv6 source.
    SetIpv6Source([u8; 16]),
    /// Writes the IPv6 destination.
    SetIpv6Destination([u8; 16]),
    /// Writes the source port of TCP or UDP.
    SetSourcePort(u16),
    /// Writes the destination port of TCP or UDP.
    SetDestinationPort(u16),
    /// Counts the TTL or hop limit down by 1.
    DecrementTimeToLive,
    /// Counts packets and bytes, for [`FlowEngine::counted`](super::FlowEngine::counted).
    Count,
    /// Reports when nothing has matched for so long, by [`FlowEngine::aged`](super::FlowEngine::aged).
    Age {
        /// Seconds, below 2^24; more is taken for the most.
        seconds: u32,
        /// What is reported.
        context: u64,
    },
    /// Sends the packet out of the wire of the port with this number (`REPRESENTED_PORT`).
    ToWire(u16),
    /// Has the packet received by the port with this number (`PORT_REPRESENTOR`).
    ToPort(u16),
    /// Has the packet received on this queue of the port: of rules that are no transfer rules.
    ToQueue(u16),
    /// Drops the packet.
    Drop,
}

/// DPDK's structs of one action.
#[derive(Clone, Copy)]
union Space {
    ipv4: sys::rte_flow_action_set_ipv4,
    ipv6: sys::rte_flow_action_set_ipv6,
    port: sys::rte_flow_action_set_tp,
    mac: sys::rte_flow_action_set_mac,
    ethdev: sys::rte_flow_action_ethdev,
    queue: sys::rte_flow_action_queue,
    age: sys::rte_flow_action_age,
    count: sys::rte_flow_action_count,
}

impl FlowAction {
    /// DPDK's number for this kind of action.
    pub(super) fn kind(&self) -> sys::rte_flow_action_type {
        use sys::*;
        match self {
            FlowAction::SetSourceMac(_) => rte_flow_action_type_RTE_FLOW_ACTION_TYPE_SET_MAC_SRC,
            FlowAction::SetDestinationMac(_) => {
                rte_flow_action_type_RTE_FLOW_ACTION_TYPE_SET_MAC_DST
            }
            FlowAction::SetIpv4Source(_) => rte_flow_action_type_RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC,
            FlowAction::SetIpv4Destination(_) => {
                rte_flow_action_type_RTE_FLOW_ACTION_TYPE_SET_IPV4_DST
            }
            FlowAction::SetIpv6Source(_) => rte_flow_action_type_RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC,
            FlowAction::SetIpv6Destination(_) => {
                rte_flow_action_type_RTE_FLOW_ACTION_TYPE_SET_IPV6_DST
            }
            FlowAction::SetSourcePort(_) => rte_flow_action_type_RTE_FLOW_ACTION_TYPE_SET_TP_SRC,
            FlowAction::SetDestinationPort(_) => {
                rte_flow_action_type_RTE_FLOW_ACTION_TYPE_SET_TP_DST
            }
            FlowAction::DecrementTimeToLive => rte_flow_action_type_RTE_FLOW_ACTION_TYPE_DEC_TTL,
            FlowAction::Count => rte_flow_action_type_RTE_FLOW_ACTION_TYPE_COUNT,
            FlowAction::Age { .. } => rte_flow_action_type_RTE_FLOW_ACTION_TYPE_AGE,
            FlowAction::ToWire(_) => rte_flow_action_type_RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT,
            FlowAction::ToPort(_) => rte_flow_action_type_RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR,
            FlowAction::ToQueue(_) => rte_flow_action_type_RTE_FLOW_ACTION_TYPE_QUEUE,
            FlowAction::Drop => rte_flow_action_type_RTE_FLOW_ACTION_TYPE_DROP,
        }
    }

    /// What DPDK wants to know besides; none where that is nothing.
    fn encode(&self) -> Option<Space> {
        // SAFETY: structs of numbers and a pointer that nobody follows, of which all zeroes is a value.
        let mut space: Space = unsafe { std::mem::zeroed() };
        match *self {
            FlowAction::SetSourceMac(address) | FlowAction::SetDestinationMac(address) => {
                space.mac = sys::rte_flow_action_set_mac { mac_addr: address };
            }
            FlowAction::SetIpv4Source(address) | FlowAction::SetIpv4Destination(address) => {
                space.ipv4.ipv4_addr = u32::from_ne_bytes(address);
            }
            FlowAction::SetIpv6Source(address) | FlowAction::SetIpv6Destination(address) => {
                space.ipv6 = sys::rte_flow_action_set_ipv6 { ipv6_addr: address };
            }
            FlowAction::SetSourcePort(port) | FlowAction::SetDestinationPort(port) => {
                space.port.port = port.to_be();
            }
            FlowAction::Age { seconds, context } => {
                let mut age = sys::rte_flow_action_age {
                    _bitfield_1: sys::rte_flow_action_age::new_bitfield_1(
                        seconds.min(0xff_ffff),
                        0,
                    ),
                    context: ptr::null_mut(),
                };
                age.context = as_pointer(context);
                space.age = age;
            }
            FlowAction::ToWire(port) | FlowAction::ToPort(port) => space.ethdev.port_id = port,
            FlowAction::ToQueue(queue) => space.queue.index = queue,
            FlowAction::Count => space.count.id = 0,
            FlowAction::DecrementTimeToLive | FlowAction::Drop => return None,
        }
        Some(space)
    }
}

/// A number in the place of a pointer that DPDK hands back and does not follow.
pub(super) fn as_pointer(number: u64) -> *mut c_void {
    ptr::without_provenance_mut(number as usize)
}

/// Calls with DPDK's list for `actions`, which lives as long as the call. Without the values, it is the list of masks of a
/// template whose rules each have their own. None if there are too many.
pub(super) fn with_actions<T>(
    actions: &[FlowAction],
    values: bool,
    call: impl FnOnce(*const sys::rte_flow_action) -> T,
) -> Option<T> {
    if actions.len() > LARGEST_ACTIONS {
        return None;
    }
    let spaces: ArrayVec<_, LARGEST_ACTIONS> = actions.iter().map(FlowAction::encode).collect();
    let conf = |space: &Option<Space>| match space {
        Some(space) if values => ptr::from_ref(space).cast::<c_void>(),
        _ => ptr::null(),
    };
    let mut list: ArrayVec<sys::rte_flow_action, { LARGEST_ACTIONS + 1 }> = actions
        .iter()
        .zip(&spaces)
        .map(|(action, space)| sys::rte_flow_action {
            type_: action.kind(),
            conf: conf(space),
        })
        .collect();
    list.push(sys::rte_flow_action {
        type_: sys::rte_flow_action_type_RTE_FLOW_ACTION_TYPE_END,
        conf: ptr::null(),
    });
    Some(call(list.as_ptr()))
}

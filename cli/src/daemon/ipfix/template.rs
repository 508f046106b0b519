//! Templates: which elements a record has, in which order.

use super::element::*;

/// A template.
#[derive(Debug)]
pub(crate) struct Template {
    /// Its number, which is also that of the sets of its records.
    pub(super) number: u16,
    /// How many of its elements say what the others are about; none but in options templates (RFC 7011, section 3.4.2.2).
    pub(super) scope: u16,
    pub(super) elements: &'static [&'static [Element]],
}

impl Template {
    /// All of its elements.
    pub(super) fn elements(&self) -> impl Iterator<Item = &'static Element> {
        self.elements.iter().flat_map(|part| part.iter())
    }

    /// Its template record, or options template record.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.number.to_be_bytes());
        out.extend((self.elements().count() as u16).to_be_bytes());
        if self.scope > 0 {
            out.extend(self.scope.to_be_bytes());
        }
        self.elements().for_each(|element| element.specify(out));
    }

    /// One of its records.
    pub(super) fn write_record(&self, values: &Values, out: &mut Vec<u8>) {
        self.elements()
            .for_each(|element| element.write(values, out));
    }
}

const TIMES: &[Element] = &[FLOW_START_MILLISECONDS, FLOW_END_MILLISECONDS];
const ENDS4: &[Element] = &[SOURCE_IPV4_ADDRESS, DESTINATION_IPV4_ADDRESS];
const ENDS6: &[Element] = &[SOURCE_IPV6_ADDRESS, DESTINATION_IPV6_ADDRESS];
const TRANSPORT: &[Element] = &[
    SOURCE_TRANSPORT_PORT,
    DESTINATION_TRANSPORT_PORT,
    PROTOCOL_IDENTIFIER,
];
const COUNTS: &[Element] = &[
    PACKET_DELTA_COUNT,
    OCTET_DELTA_COUNT,
    REVERSE_PACKET_DELTA_COUNT,
    REVERSE_OCTET_DELTA_COUNT,
];
const POST4: &[Element] = &[
    POST_NAT_SOURCE_IPV4_ADDRESS,
    POST_NAT_DESTINATION_IPV4_ADDRESS,
    POST_NAPT_SOURCE_TRANSPORT_PORT,
    POST_NAPT_DESTINATION_TRANSPORT_PORT,
];
const POST6: &[Element] = &[
    POST_NAT_SOURCE_IPV6_ADDRESS,
    POST_NAT_DESTINATION_IPV6_ADDRESS,
    POST_NAPT_SOURCE_TRANSPORT_PORT,
    POST_NAPT_DESTINATION_TRANSPORT_PORT,
];
const PLACES: &[Element] = &[
    INGRESS_INTERFACE,
    EGRESS_INTERFACE,
    INGRESS_VRFID,
    EGRESS_VRFID,
];
const ICMP4: &[Element] = &[TCP_CONTROL_BITS, ICMP_TYPE_CODE_IPV4, FLOW_END_REASON];
const ICMP6: &[Element] = &[TCP_CONTROL_BITS, ICMP_TYPE_CODE_IPV6, FLOW_END_REASON];
const EVENT: &[Element] = &[OBSERVATION_TIME_MILLISECONDS, NAT_EVENT];
const VRFS: &[Element] = &[INGRESS_VRFID, EGRESS_VRFID];

/// What a connection of IPv4 has done.
pub(super) const FLOW4: Template = Template {
    number: 256,
    scope: 0,
    elements: &[TIMES, ENDS4, TRANSPORT, ICMP4, COUNTS, POST4, PLACES],
};
/// What a connection of IPv6 has done.
pub(super) const FLOW6: Template = Template {
    number: 257,
    scope: 0,
    elements: &[TIMES, ENDS6, TRANSPORT, ICMP6, COUNTS, POST6, PLACES],
};
/// What a connection of IPv6 has done that NAT64 translates.
pub(super) const FLOW64: Template = Template {
    number: 258,
    scope: 0,
    elements: &[TIMES, ENDS6, TRANSPORT, ICMP6, COUNTS, POST4, PLACES],
};
/// A translated connection of IPv4 begins or ends.
pub(super) const SESSION44: Template = Template {
    number: 259,
    scope: 0,
    elements: &[EVENT, ENDS4, TRANSPORT, POST4, VRFS],
};
/// A connection begins or ends that NAT64 translates.
pub(super) const SESSION64: Template = Template {
    number: 260,
    scope: 0,
    elements: &[EVENT, ENDS6, TRANSPORT, POST4, VRFS],
};
/// A mapping of IPv4 begins or ends.
pub(super) const BINDING44: Template = Template {
    number: 261,
    scope: 0,
    elements: &[
        EVENT,
        &[
            SOURCE_IPV4_ADDRESS,
            POST_NAT_SOURCE_IPV4_ADDRESS,
            PROTOCOL_IDENTIFIER,
            SOURCE_TRANSPORT_PORT,
            POST_NAPT_SOURCE_TRANSPORT_PORT,
        ],
        VRFS,
    ],
};
/// A mapping of NAT64 begins or ends.
pub(super) const BINDING64: Template = Template {
    number: 262,
    scope: 0,
    elements: &[
        EVENT,
        &[
            SOURCE_IPV6_ADDRESS,
            POST_NAT_SOURCE_IPV4_ADDRESS,
            PROTOCOL_IDENTIFIER,
            SOURCE_TRANSPORT_PORT,
            POST_NAPT_SOURCE_TRANSPORT_PORT,
        ],
        VRFS,
    ],
};
/// No port is left of external addresses of IPv4, of which the first is told.
pub(super) const EXHAUSTED4: Template = Template {
    number: 263,
    scope: 0,
    elements: &[
        EVENT,
        &[
            POST_NAT_SOURCE_IPV4_ADDRESS,
            PROTOCOL_IDENTIFIER,
            INGRESS_VRFID,
        ],
    ],
};
/// The same of IPv6.
pub(super) const EXHAUSTED6: Template = Template {
    number: 264,
    scope: 0,
    elements: &[
        EVENT,
        &[
            POST_NAT_SOURCE_IPV6_ADDRESS,
            PROTOCOL_IDENTIFIER,
            INGRESS_VRFID,
        ],
    ],
};
/// A limit keeps a connection of IPv4 from beginning.
pub(super) const QUOTA4: Template = Template {
    number: 265,
    scope: 0,
    elements: &[
        EVENT,
        &[NAT_QUOTA_EXCEEDED_EVENT, SOURCE_IPV4_ADDRESS, INGRESS_VRFID],
    ],
};
/// The same of IPv6.
pub(super) const QUOTA6: Template = Template {
    number: 266,
    scope: 0,
    elements: &[
        EVENT,
        &[NAT_QUOTA_EXCEEDED_EVENT, SOURCE_IPV6_ADDRESS, INGRESS_VRFID],
    ],
};
/// What an interface is called.
pub(super) const INTERFACE: Template = Template {
    number: 267,
    scope: 1,
    elements: &[&[INGRESS_INTERFACE, INTERFACE_NAME]],
};
/// What a VPC is called.
pub(super) const VPC: Template = Template {
    number: 268,
    scope: 1,
    elements: &[&[INGRESS_VRFID, VRF_NAME]],
};

/// All of them, in the order in which they are sent.
pub(super) const ALL: &[Template] = &[
    FLOW4, FLOW6, FLOW64, SESSION44, SESSION64, BINDING44, BINDING64, EXHAUSTED4, EXHAUSTED6,
    QUOTA4, QUOTA6, INTERFACE, VPC,
];

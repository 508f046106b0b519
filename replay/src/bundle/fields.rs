//! Where the fields of a frame are that translation may write: so that two frames can be called one packet whatever was chosen for it.

use std::ops::Range;

use rewire_packet::IpAddress;
use rewire_packet::nat::{RewriteError, nat_rewrite};

/// The length of an Ethernet header.
const ETHERNET: usize = 14;

/// The places of fields, by a frame's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    is_ipv6: bool,
    protocol: u8,
    /// The time to live, or hop limit.
    hops: usize,
    source: End,
    destination: End,
    checksums: Vec<Range<usize>>,
}

/// One end of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    address: Range<usize>,
    /// The port, or the identifier of an echo, which is both ends'.
    port: Option<Range<usize>>,
}

impl End {
    fn all(&self) -> impl Iterator<Item = &Range<usize>> {
        std::iter::once(&self.address).chain(&self.port)
    }
}

impl Fields {
    /// Those of a frame; none where it is no IP packet, or cut off.
    pub(super) fn of(frame: &[u8]) -> Option<Fields> {
        let packet = frame.get(ETHERNET..)?;
        let (is_ipv6, protocol, above, has_ports) = match (frame[12], frame[13]) {
            (0x08, 0x00) => {
                let header = packet.first_chunk::<20>()?;
                let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
                let length = usize::from(header[0] & 15) * 4;
                (false, header[9], ETHERNET + length, fragment == 0)
            }
            (0x86, 0xdd) => (
                true,
                *packet.first_chunk::<40>()?.get(6)?,
                ETHERNET + 40,
                true,
            ),
            _ => return None,
        };
        let (source, length) = if is_ipv6 { (22, 16) } else { (26, 4) };
        let head = frame.get(above..).filter(|_| has_ports).unwrap_or(&[]);
        let field = |at: usize, length: usize| {
            (head.len() >= at + length).then_some(above + at..above + at + length)
        };
        let (ports, checksum) = match (protocol, head.first()) {
            (6, _) => ([field(0, 2), field(2, 2)], field(16, 2)),
            (17, _) => ([field(0, 2), field(2, 2)], field(6, 2)),
            (1, Some(0 | 8)) | (58, Some(128 | 129)) => ([field(4, 2), field(4, 2)], field(2, 2)),
            (1 | 58, _) => ([None, None], field(2, 2)),
            _ => ([None, None], None),
        };
        let [source_port, destination_port] = ports;
        let of_header = (!is_ipv6).then_some(24..26);
        Some(Fields {
            is_ipv6,
            protocol,
            hops: if is_ipv6 { 21 } else { 22 },
            source: End {
                address: source..source + length,
                port: source_port,
            },
            destination: End {
                address: source + length..source + 2 * length,
                port: destination_port,
            },
            checksums: of_header.into_iter().chain(checksum).collect(),
        })
    }

    /// Those that a translation may choose: the source's address and port.
    pub(super) fn chosen(&self) -> impl Iterator<Item = &Range<usize>> {
        self.source.all()
    }

    /// The checksums, which follow from the rest.
    pub(super) fn checksums(&self) -> &[Range<usize>] {
        &self.checksums
    }

    /// Whether two frames with these fields are the same from the type on, but for one end, what else is in a range, and the checksums.
    fn are_same_but(&self, end: &End, more: &Range<usize>, (one, other): (&[u8], &[u8])) -> bool {
        let is_left_out = |at: usize| {
            let mut all = end.all().chain(&self.checksums);
            more.contains(&at) || all.any(|range| range.contains(&at))
        };
        let mut bytes = one.iter().zip(other).enumerate().skip(12);
        one.len() == other.len() && bytes.all(|(at, (a, b))| a == b || is_left_out(at))
    }

    /// Writes another source into a packet with these fields, and mends its checksums: the address and port of `from`.
    ///
    /// # Errors
    /// Where the frame is cut off, or says that it is longer than it is.
    pub(super) fn set_source(&self, frame: &mut [u8], from: &[u8]) -> Result<(), RewriteError> {
        match self.is_ipv6 {
            false => self.rewrite::<std::net::Ipv4Addr>(frame, from),
            true => self.rewrite::<std::net::Ipv6Addr>(frame, from),
        }
    }

    fn rewrite<A: IpAddress>(&self, frame: &mut [u8], from: &[u8]) -> Result<(), RewriteError> {
        let port = self.source.port.as_ref().and_then(|port| {
            let bytes = from.get(port.clone())?;
            Some(u16::from_be_bytes([bytes[0], bytes[1]]))
        });
        let source = A::read(from, self.source.address.start).map(|address| (address, port));
        nat_rewrite(frame.get_mut(ETHERNET..).unwrap_or_default(), source, None)
    }
}

/// Whether two frames that leave are one packet, whatever a translation has chosen for its source.
pub(super) fn is_same_packet(one: &[u8], other: &[u8]) -> bool {
    match (Fields::of(one), Fields::of(other)) {
        (Some(fields), Some(others)) => {
            fields == others && fields.are_same_but(&fields.source, &(0..0), (one, other))
        }
        _ => one == other,
    }
}

/// Whether a frame that comes in may leave as another one: with one of its ends translated, or none.
pub(super) fn may_leave_as(arriving: &[u8], leaving: &[u8]) -> bool {
    let (Some(fields), Some(others)) = (Fields::of(arriving), Fields::of(leaving)) else {
        return false;
    };
    let hops = fields.hops..fields.hops + 1;
    let mut ends = [&fields.source, &fields.destination].into_iter();
    fields == others && ends.any(|end| fields.are_same_but(end, &hops, (arriving, leaving)))
}

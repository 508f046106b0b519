//! TCP resets: what the sender of a segment is told that is rejected (RFC 9293, section 3.10.7.1).

use rewire_packet::tcp::{TcpFlags, TcpRepr, TcpView};
use rewire_packet::{IpAddress, IpHeader, Protocol};

use super::family::Family;

/// Writes the reset that answers a segment, as if its destination had sent it; the packet's length. Nothing, where the
/// segment is a reset itself or not whole.
pub(super) fn build<A: Family>(
    header: &IpHeader<<A as IpAddress>::Version>,
    packet: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let segment = TcpView::new_checked(header.upper_layer(packet)).ok()?;
    let flags = segment.flags();
    if flags.contains(TcpFlags::RST) {
        return None;
    }
    // A SYN and a FIN count as a byte each.
    let counted = |flag| u32::from(flags.contains(flag));
    let payload = header.upper_layer(packet).len() - segment.header_len();
    let length = payload as u32 + counted(TcpFlags::SYN) + counted(TcpFlags::FIN);
    let (sequence, acknowledgment, flags) = match flags.contains(TcpFlags::ACK) {
        true => (segment.acknowledgment(), 0, TcpFlags::RST),
        false => (
            0,
            segment.sequence().wrapping_add(length),
            TcpFlags::RST | TcpFlags::ACK,
        ),
    };
    let reset = TcpRepr {
        source: segment.destination(),
        destination: segment.source(),
        sequence,
        acknowledgment,
        flags,
        window: 0,
        urgent: 0,
        max_segment_size: None,
    };
    let ends = (header.destination, header.source);
    let start = A::write_header(out, ends, Protocol::TCP, reset.buffer_len())?;
    // The checksum is over all that it is given.
    let end = start + reset.buffer_len();
    reset.emit(ends.0, ends.1, out.get_mut(start..end)?).ok()?;
    Some(end)
}

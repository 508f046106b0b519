//! What became of the FINs of a TCP connection.

use crate::key::Direction;
use crate::tcp::TcpState;

/// The FINs of both directions, in four bits. A FIN is the end of its direction's data, so where it is needs no place here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fins(pub(crate) u8);

/// Both directions' bits.
const SENT: u8 = 0b0011;
const ACKNOWLEDGED: u8 = 0b1100;

impl Fins {
    /// Whether a direction has sent its FIN.
    #[inline]
    pub(crate) fn is_sent(self, direction: Direction) -> bool {
        self.0 & 1 << direction as u8 != 0
    }

    /// A direction has sent its FIN.
    #[inline]
    pub(crate) fn send(&mut self, direction: Direction) {
        self.0 |= 1 << direction as u8;
    }

    /// The FIN that a direction has sent was acknowledged.
    #[inline]
    pub(crate) fn acknowledge(&mut self, direction: Direction) {
        self.0 |= 0b100 << direction as u8;
    }

    /// The state of a connection whose handshake is done.
    #[inline]
    pub(crate) fn state(self) -> TcpState {
        match self.0 & SENT {
            0b00 => TcpState::Established,
            0b01 => TcpState::FinWait,
            0b10 => TcpState::CloseWait,
            _ if self.0 & ACKNOWLEDGED == ACKNOWLEDGED => TcpState::TimeWait,
            _ => TcpState::LastAck,
        }
    }
}

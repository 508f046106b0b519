//! The state of a connection, of whatever protocol.

use std::fmt;

use crate::error::Invalid;
use crate::key::Direction;
use crate::segment::Segment;
use crate::tcp::{self, Effect, Memory, TcpState};

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Of TCP.
    Tcp(TcpState),
    /// Of UDP.
    Udp(Exchange),
    /// Of ICMP queries.
    Icmp(IcmpState),
    /// Of anything else.
    Other(Exchange),
}

/// The state of a connection whose protocol has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// Only packets of the original direction were seen.
    Unreplied,
    /// Packets of both directions were seen.
    Replied,
}

/// The state of ICMP queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IcmpState {
    /// Only queries were seen.
    Unreplied,
    /// Replies were seen.
    Replied,
    /// Either end has sent queries to the other, with the same identifier (some systems always use the same one).
    Crossed,
}

impl Exchange {
    #[inline]
    pub(crate) fn step(self, direction: Direction) -> Self {
        match direction {
            Direction::Original => self,
            Direction::Reply => Exchange::Replied,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Exchange::Unreplied => "unreplied",
            Exchange::Replied => "replied",
        }
    }
}

impl IcmpState {
    fn step(self, direction: Direction, reply: bool) -> Result<Self, Invalid> {
        match (direction, reply, self) {
            (Direction::Original, false, _) => Ok(self),
            (Direction::Reply, false, _) => Ok(IcmpState::Crossed),
            (_, true, IcmpState::Crossed) => Ok(self),
            (Direction::Reply, true, _) => Ok(IcmpState::Replied),
            (Direction::Original, true, _) => Err(Invalid::IcmpReply),
        }
    }

    fn name(self) -> &'static str {
        match self {
            IcmpState::Unreplied => "unreplied",
            IcmpState::Replied => "replied",
            IcmpState::Crossed => "crossed",
        }
    }
}

impl State {
    /// Every state once, as far as names tell them apart.
    pub const ALL: [State; 16] = ALL;

    /// The state that a connection begins in, with a segment that was admitted.
    #[inline(always)]
    pub(crate) fn begin(segment: &Segment) -> (Self, Memory) {
        let state = match segment {
            Segment::Tcp(segment) => {
                let (state, memory) = tcp::begin(segment);
                return (State::Tcp(state), memory);
            }
            Segment::Udp => State::Udp(Exchange::Unreplied),
            Segment::IcmpQuery { .. } => State::Icmp(IcmpState::Unreplied),
            Segment::Other => State::Other(Exchange::Unreplied),
        };
        (state, Memory::default())
    }

    /// What a segment does. Where it is refused, nothing has changed.
    #[inline]
    pub(crate) fn step(
        self,
        memory: &mut Memory,
        direction: Direction,
        segment: &Segment,
    ) -> Result<Effect<Self>, Invalid> {
        Ok(Effect::To(match (self, segment) {
            (State::Tcp(state), Segment::Tcp(segment)) => {
                return Ok(tcp::step(state, memory, direction, segment)?.map(State::Tcp));
            }
            (State::Udp(state), Segment::Udp) => State::Udp(state.step(direction)),
            (State::Icmp(state), Segment::IcmpQuery { reply }) => {
                State::Icmp(state.step(direction, *reply)?)
            }
            (State::Other(state), Segment::Other) => State::Other(state.step(direction)),
            _ => return Err(Invalid::ProtocolMismatch),
        }))
    }

    /// Whether a connection in it makes way where there is no room: nobody has answered it for good, or it is over. One that
    /// both ends hold open never does.
    pub fn may_make_way(&self) -> bool {
        match self {
            State::Tcp(state) => match state {
                TcpState::SynSent | TcpState::SynSent2 | TcpState::SynReceived { .. } => true,
                TcpState::TimeWait | TcpState::Closed => true,
                TcpState::Established
                | TcpState::FinWait
                | TcpState::CloseWait
                | TcpState::LastAck => false,
            },
            State::Udp(exchange) | State::Other(exchange) => *exchange == Exchange::Unreplied,
            State::Icmp(state) => *state == IcmpState::Unreplied,
        }
    }

    /// The protocol in words: `tcp`, `udp`, `icmp` (of either version) or `other`.
    pub fn protocol(&self) -> &'static str {
        match self {
            State::Tcp(_) => "tcp",
            State::Udp(_) => "udp",
            State::Icmp(_) => "icmp",
            State::Other(_) => "other",
        }
    }

    /// The state in words, without the protocol.
    pub fn name(&self) -> &'static str {
        match self {
            State::Tcp(state) => state.name(),
            State::Udp(state) | State::Other(state) => state.name(),
            State::Icmp(state) => state.name(),
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    #[inline]
    pub const fn position(self) -> usize {
        // Where its protocol's begin, and how far from there: without a jump that nobody can foresee.
        let first = match self {
            State::Tcp(state) => match state {
                TcpState::SynSent => 0,
                TcpState::SynSent2 => 1,
                TcpState::SynReceived { .. } => 2,
                TcpState::Established => 3,
                TcpState::FinWait => 4,
                TcpState::CloseWait => 5,
                TcpState::LastAck => 6,
                TcpState::TimeWait => 7,
                TcpState::Closed => 8,
            },
            State::Udp(_) => 9,
            State::Icmp(_) => 11,
            State::Other(_) => 14,
        };
        let ahead = match self {
            State::Tcp(_) => 0,
            State::Udp(state) | State::Other(state) => state as usize,
            State::Icmp(state) => state as usize,
        };
        first + ahead
    }
}

impl fmt::Display for State {
    /// The state in words; for what is not TCP, with the protocol before.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Tcp(state) => state.fmt(f),
            State::Udp(_) | State::Icmp(_) | State::Other(_) => {
                write!(f, "{}_{}", self.protocol(), self.name())
            }
        }
    }
}

/// The number of states that [`StateCounts`] tells apart.
pub(crate) const STATES: usize = 16;

/// Every state once, as far as names tell them apart.
const ALL: [State; STATES] = [
    State::Tcp(TcpState::SynSent),
    State::Tcp(TcpState::SynSent2),
    State::Tcp(TcpState::SynReceived {
        waiting_for: Direction::Original,
    }),
    State::Tcp(TcpState::Established),
    State::Tcp(TcpState::FinWait),
    State::Tcp(TcpState::CloseWait),
    State::Tcp(TcpState::LastAck),
    State::Tcp(TcpState::TimeWait),
    State::Tcp(TcpState::Closed),
    State::Udp(Exchange::Unreplied),
    State::Udp(Exchange::Replied),
    State::Icmp(IcmpState::Unreplied),
    State::Icmp(IcmpState::Replied),
    State::Icmp(IcmpState::Crossed),
    State::Other(Exchange::Unreplied),
    State::Other(Exchange::Replied),
];

/// How many connections are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts([u32; ALL.len()]);

impl StateCounts {
    /// How many are in a state. Those of TCP in [`TcpState::SynReceived`] count together, whomever they wait for.
    pub fn of(&self, state: State) -> u32 {
        self.0[state.position()]
    }

    /// Each state with the number of connections in it, zeros included, always in the same order.
    pub fn iter(&self) -> impl Iterator<Item = (State, u32)> + '_ {
        ALL.into_iter().zip(self.0)
    }

    /// The numbers of two tables together, in the order of [`State::ALL`].
    pub fn together(&self, other: &StateCounts) -> [u64; State::ALL.len()] {
        std::array::from_fn(|place| u64::from(self.0[place]) + u64::from(other.0[place]))
    }

    pub(crate) fn add(&mut self, state: State) {
        self.0[state.position()] += 1;
    }

    pub(crate) fn subtract(&mut self, state: State) {
        self.0[state.position()] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_place_and_its_own_name() {
        let mut names: Vec<_> = ALL.iter().map(State::to_string).collect();
        assert_eq!(
            ALL.map(State::position),
            std::array::from_fn(|position| position)
        );
        assert_eq!(names[..3], ["syn_sent", "syn_sent2", "syn_received"]);
        assert_eq!(
            names[9..12],
            ["udp_unreplied", "udp_replied", "icmp_unreplied"]
        );
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn a_reply_makes_it_replied_for_good() {
        use Direction::{Original, Reply};
        let mut memory = Memory::default();
        for segment in [Segment::Udp, Segment::Other] {
            let (begin, _) = State::begin(&segment);
            assert_eq!(begin.name(), "unreplied");
            assert_eq!(
                begin.step(&mut memory, Original, &segment),
                Ok(Effect::To(begin))
            );
            let Ok(Effect::To(replied)) = begin.step(&mut memory, Reply, &segment) else {
                panic!("{segment:?}");
            };
            assert_eq!(replied.name(), "replied");
            assert_eq!(
                replied.step(&mut memory, Original, &segment),
                Ok(Effect::To(replied))
            );
        }
    }

    #[test]
    fn icmp_replies_answer_queries() {
        use Direction::{Original, Reply};
        let query = Segment::IcmpQuery { reply: false };
        let reply = Segment::IcmpQuery { reply: true };
        let step = |state: State, direction, segment: &Segment| {
            state
                .step(&mut Memory::default(), direction, segment)
                .map(|effect| effect.map(|state| state.name()))
        };
        let [unreplied, replied, crossed] =
            [IcmpState::Unreplied, IcmpState::Replied, IcmpState::Crossed].map(State::Icmp);
        assert_eq!(State::begin(&query).0, unreplied);
        for (state, direction, segment, after) in [
            (unreplied, Original, &query, Ok("unreplied")),
            (unreplied, Original, &reply, Err(Invalid::IcmpReply)),
            (unreplied, Reply, &reply, Ok("replied")),
            (unreplied, Reply, &query, Ok("crossed")),
            (replied, Original, &query, Ok("replied")),
            (replied, Original, &reply, Err(Invalid::IcmpReply)),
            (replied, Reply, &query, Ok("crossed")),
            (crossed, Original, &reply, Ok("crossed")),
            (crossed, Reply, &reply, Ok("crossed")),
            (crossed, Original, &query, Ok("crossed")),
        ] {
            assert_eq!(
                step(state, direction, segment),
                after.map(Effect::To),
                "{state} {direction} {segment:?}"
            );
        }
    }

    #[test]
    fn protocols_do_not_mix() {
        let segments = [
            Segment::Udp,
            Segment::IcmpQuery { reply: false },
            Segment::Other,
        ];
        for first in &segments {
            for second in &segments {
                let (state, mut memory) = State::begin(first);
                let step = state.step(&mut memory, Direction::Original, second);
                assert_eq!(step == Err(Invalid::ProtocolMismatch), first != second);
            }
        }
    }
}

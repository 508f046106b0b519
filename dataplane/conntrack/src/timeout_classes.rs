//! Which time-outs a connection has: a byte of it says. Few combinations are in use at a time, and those that nobody uses any more make room for others.

use std::time::Duration;

use rewire_tables::VpcTimeouts;

use crate::state::{Exchange, STATES, State};
use crate::time::Timeout;
use crate::timeouts::Timeouts;

/// The time-outs that a connection has: the default ones, or others that [`Connections::timeout_class`] has found a number
/// for. It means something for the [`Connections`] that it comes from.
///
/// [`Connections`]: crate::Connections
/// [`Connections::timeout_class`]: crate::Connections::timeout_class
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutClass(pub(crate) u8);

/// The classes that there can be, the default one included.
const MOST: usize = 256;

#[derive(Debug)]
struct Class {
    timeouts: Timeouts,
    /// The connections that have it.
    connections: u32,
}

/// All time-outs that connections have.
#[derive(Debug)]
pub(crate) struct TimeoutClasses {
    classes: Vec<Class>,
    /// Of each class, by [`State::position`].
    by_state: Vec<[Timeout; STATES]>,
}

impl TimeoutClasses {
    pub(crate) fn new(default: Timeouts) -> Self {
        let mut classes = TimeoutClasses {
            classes: Vec::with_capacity(MOST),
            by_state: Vec::with_capacity(MOST),
        };
        classes.set(0, default);
        classes
    }

    /// The time-out of a class in a state.
    #[inline(always)]
    pub(crate) fn of(&self, class: TimeoutClass, state: State) -> Timeout {
        self.by_state[usize::from(class.0)][state.position()]
    }

    /// As [`of`](Self::of), of UDP.
    #[inline(always)]
    pub(crate) fn of_udp(&self, class: TimeoutClass, exchange: Exchange) -> Timeout {
        const FIRST: usize = State::Udp(Exchange::Unreplied).position();
        self.by_state[usize::from(class.0)][FIRST + exchange as usize]
    }

    /// The class of connections whose VPC and whose rule say these. Where there are too many, the default one.
    ///
    /// Costs next to nothing where neither says any; otherwise a look at each class.
    #[inline]
    pub(crate) fn find(
        &mut self,
        vpc: Option<&VpcTimeouts>,
        idle: Option<Duration>,
    ) -> TimeoutClass {
        match (vpc, idle) {
            (None, None) => TimeoutClass::default(),
            _ => self.find_other(vpc, idle),
        }
    }

    fn find_other(&mut self, vpc: Option<&VpcTimeouts>, idle: Option<Duration>) -> TimeoutClass {
        let default = &self.classes[0].timeouts;
        let timeouts = default.with(vpc).with_idle(idle);
        let is_it = |class: &Class| class.timeouts == timeouts;
        if let Some(known) = self.classes.iter().position(is_it) {
            return TimeoutClass(known as u8);
        }
        let unused = |class: &Class| class.connections == 0;
        let free = self.classes.iter().skip(1).position(unused);
        let place = free.map_or(self.classes.len(), |free| free + 1);
        if place >= MOST {
            return TimeoutClass::default();
        }
        self.set(place, timeouts);
        TimeoutClass(place as u8)
    }

    fn set(&mut self, place: usize, timeouts: Timeouts) {
        let by_state = State::ALL.map(|state| timeouts.of(state).into());
        let class = Class {
            timeouts,
            connections: 0,
        };
        match self.classes.get_mut(place) {
            Some(old) => (*old, self.by_state[place]) = (class, by_state),
            None => {
                self.classes.push(class);
                self.by_state.push(by_state);
            }
        }
    }

    /// A connection has begun that has this class.
    #[inline]
    pub(crate) fn hold(&mut self, class: TimeoutClass) {
        if class != TimeoutClass::default() {
            self.classes[usize::from(class.0)].connections += 1;
        }
    }

    /// One has ended.
    #[inline]
    pub(crate) fn release(&mut self, class: TimeoutClass) {
        if class != TimeoutClass::default() {
            self.classes[usize::from(class.0)].connections -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Exchange;

    const REPLIED: State = State::Udp(Exchange::Replied);

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn classes_are_found_again_and_make_room() {
        let mut classes = TimeoutClasses::new(Timeouts::default());
        assert_eq!(classes.find(None, None), TimeoutClass(0));
        let mut found = Vec::new();
        for idle in 1..=255 {
            let class = classes.find(None, seconds(idle));
            assert_eq!(classes.find(None, seconds(idle)), class);
            classes.hold(class);
            found.push(class);
        }
        let numbers: std::collections::BTreeSet<u8> = found.iter().map(|class| class.0).collect();
        assert_eq!(numbers.len(), 255);
        assert_eq!(
            classes.find(None, seconds(300)),
            TimeoutClass(0),
            "there is no room"
        );
        classes.release(found[7]);
        let last = classes.find(None, seconds(3000));
        assert_eq!(last, found[7]);
        let expected = Timeout::from(Duration::from_secs(3000));
        assert_eq!(classes.of(last, REPLIED), expected);
    }

    #[test]
    fn a_rule_goes_before_its_vpc_and_never_prolongs_handshakes() {
        let vpc = VpcTimeouts {
            udp_replied: seconds(40),
            tcp_partially_open: seconds(5),
            ..VpcTimeouts::default()
        };
        let default = Timeouts::default();
        let of_vpc = default.with(Some(&vpc));
        assert_eq!(of_vpc.udp_replied, Duration::from_secs(40));
        assert_eq!(of_vpc.udp_unreplied, default.udp_unreplied);
        let of_rule = of_vpc.with_idle(seconds(60));
        assert_eq!(of_rule.udp_replied, Duration::from_secs(60));
        assert_eq!(of_rule.tcp_established, Duration::from_secs(60));
        assert_eq!(of_rule.tcp_partially_open, Duration::from_secs(5));
        assert_eq!(of_rule.tcp_reset, Duration::from_secs(60));
        assert_eq!(of_vpc.with_idle(None), of_vpc);
    }
}

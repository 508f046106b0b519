//! Segments that neither end has sent.

use proptest::prelude::*;

use super::*;

/// A connection that is open, whose ends have sent up to 5000 and 9000, with windows of so many bytes and no scale.
fn open(window: u16) -> (TcpState, Memory) {
    let segment = |flags, sequence, acknowledgment, length| TcpSegment {
        window,
        ..segment(flags, sequence, acknowledgment, length)
    };
    let (mut state, mut memory) = begin(&segment("S", 999, 0, 0));
    for (direction, segment) in [
        (Reply, segment("SA", 1999, 1000, 0)),
        (Original, segment("A", 1000, 2000, 0)),
        (Original, segment("A", 1000, 2000, 4000)),
        (Reply, segment("A", 2000, 5000, 7000)),
        (Original, segment("A", 5000, 9000, 0)),
        (Reply, segment("A", 9000, 5000, 0)),
    ] {
        match step(state, &mut memory, direction, &segment) {
            Ok(Effect::To(next)) => state = next,
            result => panic!("{segment:?} {result:?}"),
        }
    }
    assert_eq!(state, Established);
    (state, memory)
}

const WINDOW: u16 = 8000;

fn direction() -> impl Strategy<Value = Direction> {
    any::<bool>().prop_map(|reply| if reply { Reply } else { Original })
}

/// A number that is nowhere near a window around what was sent: the other side of the circle and all but a few hundred
/// thousand of the numbers in between.
fn far(end: u32) -> impl Strategy<Value = u32> {
    (200_000..u32::MAX - 200_000).prop_map(move |distance| end.wrapping_add(distance))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// With a number that is not in the window, nothing has an effect, whatever else it says; and what is remembered stays.
    #[test]
    fn far_off_the_window_nothing_has_an_effect(
        direction in direction(),
        flags in prop::sample::select(vec!["A", "PA", "FA", "R", "RA", "SA"]),
        (sequences, acknowledgment) in ([far(5000), far(9000)], any::<u32>()),
        length in 0..1500_u32,
        window: u16,
    ) {
        let (state, before) = open(WINDOW);
        let forged = TcpSegment {
            window,
            ..segment(flags, sequences[direction as usize], acknowledgment, length)
        };
        let mut memory = before;
        let result = step(state, &mut memory, direction, &forged);
        prop_assert!(!matches!(result, Ok(Effect::To(_) | Effect::Doubt)), "{:?}", result);
        prop_assert_eq!(memory, before);
    }

    /// Nor has one with a right sequence number that acknowledges what is nowhere near what was sent.
    #[test]
    fn far_off_acknowledgments_have_no_effect(
        direction in direction(),
        flags in prop::sample::select(vec!["A", "PA", "FA"]),
        acknowledgments in [far(9000), far(5000)],
        length in 0..1500_u32,
    ) {
        let (state, before) = open(WINDOW);
        let sequence = [5000, 9000][direction as usize];
        let forged = segment(flags, sequence, acknowledgments[direction as usize], length);
        let mut memory = before;
        let result = step(state, &mut memory, direction, &forged);
        prop_assert!(!matches!(result, Ok(Effect::To(_) | Effect::Doubt)), "{:?}", result);
        prop_assert_eq!(memory, before);
    }

    /// A connection that is being opened is not taken over by who does not know the numbers.
    #[test]
    fn a_handshake_needs_the_right_numbers(
        sequence: u32,
        acknowledgment: u32,
        flags in prop::sample::select(vec!["A", "PA", "FA"]),
    ) {
        let (_, mut memory) = begin(&segment("S", 999, 0, 0));
        let state = step(SynSent, &mut memory, Reply, &segment("SA", 1999, 1000, 0));
        let received = SynReceived { waiting_for: Original };
        prop_assert_eq!(state, Ok(Effect::To(received)));
        prop_assume!(acknowledgment != 2000);
        // Whoever floods with SYNs knows their numbers.
        for sequence in [sequence, 1000] {
            let forged = segment(flags, sequence, acknowledgment, 0);
            let before = memory;
            prop_assert_eq!(step(received, &mut memory, Original, &forged), Ok(Effect::None));
            prop_assert_eq!(memory, before);
        }
    }

    /// A refusal of a SYN is believed if it acknowledges that; one without ACK is nobody's answer.
    #[test]
    fn a_refusal_needs_the_right_acknowledgment(sequence: u32, acknowledgment: u32) {
        let (_, mut memory) = begin(&segment("S", 999, 0, 0));
        prop_assume!(acknowledgment != 1000);
        for (flags, acknowledgment) in [("RA", acknowledgment), ("R", 1000)] {
            let forged = segment(flags, sequence, acknowledgment, 0);
            prop_assert_eq!(step(SynSent, &mut memory, Reply, &forged), Ok(Effect::None));
        }
        // The opener has nothing to acknowledge yet.
        prop_assume!(sequence != 1000);
        let own = segment("RA", sequence, 0, 0);
        prop_assert_eq!(step(SynSent, &mut memory, Original, &own), Ok(Effect::None));
        let refusal = segment("RA", 0, 1000, 0);
        prop_assert_eq!(step(SynSent, &mut memory, Reply, &refusal), Ok(Effect::To(Closed)));
    }
}

/// Of RSTs at all numbers, evenly, one closes, and the share that shortens the connection's life is that of the windows: one
/// that was told, and the widest that could be before the end.
#[test]
fn resets_at_all_numbers() {
    const STEP: u32 = 1000;
    for direction in [Original, Reply] {
        let (state, before) = open(u16::MAX);
        let end: u32 = [5000, 9000][direction as usize];
        let (mut closing, mut doubtful, mut tried) = (0, 0_u32, 0);
        // From the end on, so that it is one of them.
        for distance in (0..=u32::MAX).step_by(STEP as usize) {
            let forged = segment("R", end.wrapping_add(distance), 0, 0);
            let mut memory = before;
            match step(state, &mut memory, direction, &forged) {
                Ok(Effect::To(Closed)) => closing += 1,
                Ok(Effect::Doubt) => doubtful += 1,
                Ok(Effect::None) => {}
                result => panic!("{result:?}"),
            }
            assert_eq!(memory, before);
            tried += 1;
        }
        let expected = (u32::from(u16::MAX) + (1 << 16)) / STEP;
        assert_eq!((closing, tried), (1, u32::MAX / STEP + 1));
        assert!(doubtful.abs_diff(expected) <= 2, "{doubtful} of {tried}");
    }
}

#[test]
fn beyond_is_refused_and_old_passes() {
    let (state, memory) = open(WINDOW);
    let limit = 5000 + u32::from(WINDOW);
    for (sequence, acknowledgment, expected) in [
        (5000, 9000, Ok(Effect::To(Established))),
        // A keep-alive.
        (4999, 9000, Ok(Effect::To(Established))),
        // A byte that asks, and what comes next.
        (limit, 9000, Ok(Effect::To(Established))),
        (limit + 1, 9000, Ok(Effect::To(Established))),
        (limit + 2, 9000, Err(Invalid::TcpBeyondWindow)),
        // As old as the widest window is wide, and acknowledgments twice that.
        (
            5000_u32.wrapping_sub(65_536),
            9000,
            Ok(Effect::To(Established)),
        ),
        (5000_u32.wrapping_sub(65_537), 9000, Ok(Effect::None)),
        (
            5000,
            9000_u32.wrapping_sub(131_072),
            Ok(Effect::To(Established)),
        ),
        (5000, 9000_u32.wrapping_sub(131_073), Ok(Effect::None)),
        // Perhaps sent in fragments, which are not seen; and what was not allowed.
        (5000, 9000 + u32::from(WINDOW), Ok(Effect::To(Established))),
        (
            5000,
            9001 + u32::from(WINDOW),
            Err(Invalid::TcpUnsentAcknowledged),
        ),
    ] {
        let mut memory = memory;
        let segment = segment("A", sequence, acknowledgment, 0);
        let result = step(state, &mut memory, Original, &segment);
        assert_eq!(result, expected, "{sequence} {acknowledgment}");
    }
}

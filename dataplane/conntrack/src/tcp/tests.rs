use super::*;

mod endpoints;
mod forged;

/// A segment from its flags' initials: `S`, `A`, `F`, `R`, `P`.
fn segment(flags: &str, sequence: u32, acknowledgment: u32, payload_length: u32) -> TcpSegment {
    let flags = flags.chars().fold(TcpFlags::NONE, |flags, initial| {
        flags
            | match initial {
                'S' => TcpFlags::SYN,
                'A' => TcpFlags::ACK,
                'F' => TcpFlags::FIN,
                'R' => TcpFlags::RST,
                'P' => TcpFlags::PSH,
                _ => panic!("no flag {initial}"),
            }
    });
    TcpSegment {
        flags,
        sequence,
        acknowledgment,
        window: 1000,
        window_scale: None,
        payload_length,
    }
}

/// Each line is a segment, and the state after it: `> SA 300 101 +0 syn_received`, with direction, flags, sequence number,
/// acknowledgment number, bytes of data. The first begins the connection. In brackets is the state of a connection that the
/// segment has no effect on; with a question mark, the state of one that was perhaps reset; with a bang, of one whose segment
/// is refused.
#[track_caller]
fn play(script: &str) {
    let mut connection = None;
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let [direction, flags, sequence, acknowledgment, length, expected] =
            line.split_whitespace().collect::<Vec<_>>()[..]
        else {
            panic!("six words, please: {line}");
        };
        let direction = if direction == ">" { Original } else { Reply };
        let number = |word: &str| word.parse::<i64>().unwrap() as u32;
        let segment = segment(
            flags,
            number(sequence),
            number(acknowledgment),
            number(length),
        );
        let after = match &mut connection {
            None => {
                connection = Some(begin(&segment));
                connection.unwrap().0.to_string()
            }
            Some((state, memory)) => match step(*state, memory, direction, &segment) {
                Ok(Effect::To(next)) => {
                    *state = next;
                    next.to_string()
                }
                Ok(Effect::None) => format!("({state})"),
                Ok(Effect::Doubt) => format!("{state}?"),
                Err(_) => format!("{state}!"),
            },
        };
        assert_eq!(after, expected, "{line}");
    }
}

#[test]
fn handshake_data_and_close() {
    play(
        "> S  100 0   +0 syn_sent
         > S  100 0   +0 syn_sent
         < SA 300 101 +0 syn_received
         < SA 300 101 +0 syn_received
         > A  101 301 +0 established
         > PA 101 301 +9 established
         < A  301 110 +5 established
         > FA 110 306 +0 fin_wait
         < A  306 111 +0 fin_wait
         < FA 306 111 +0 last_ack
         > A  111 307 +0 time_wait
         < FA 306 111 +0 time_wait",
    );
}

#[test]
fn half_closed_either_way_still_carries_data() {
    play(
        "> S  100 0   +0 syn_sent
         < SA 300 101 +0 syn_received
         > A  101 301 +0 established
         > FA 101 301 +0 fin_wait
         < A  301 102 +900 fin_wait
         > A  102 1201 +0 fin_wait
         < FA 1201 102 +50 last_ack
         > A  102 1201 +0 last_ack
         > A  102 1252 +0 time_wait",
    );
    play(
        "> S  100 0   +0 syn_sent
         < SA 300 101 +0 syn_received
         > A  101 301 +0 established
         < FA 301 101 +7 close_wait
         > A  101 309 +40 close_wait
         > FA 141 309 +0 last_ack
         < A  309 142 +0 time_wait",
    );
}

#[test]
fn fins_that_cross_need_both_acknowledgments() {
    play(
        "> S  100 0   +0 syn_sent
         < SA 300 101 +0 syn_received
         > A  101 301 +0 established
         > FA 101 301 +0 fin_wait
         < FA 301 101 +0 last_ack
         > A  102 302 +0 last_ack
         > FA 101 302 +0 last_ack
         < A  302 102 +0 time_wait",
    );
}

#[test]
fn sequence_numbers_wrap() {
    play(
        "> S  4294967290 0 +0 syn_sent
         < SA 300 4294967291 +0 syn_received
         > A  4294967291 301 +0 established
         > FA 4294967291 301 +10 fin_wait
         < FA 301 4294967295 +0 last_ack
         > A  6 302 +0 last_ack
         < A  302 6 +0 time_wait",
    );
}

#[test]
fn simultaneous_open_in_either_order() {
    play(
        "> S  100 0   +0 syn_sent
         < S  300 0   +0 syn_sent2
         > S  100 0   +0 syn_sent2
         > SA 100 301 +0 syn_received
         < SA 300 101 +0 established",
    );
    play(
        "> S  100 0   +0 syn_sent
         < S  300 0   +0 syn_sent2
         < SA 300 101 +0 syn_received
         > SA 100 301 +0 established",
    );
    play(
        "> S  100 0   +0 syn_sent
         < S  300 0   +0 syn_sent2
         > SA 100 301 +0 syn_received
         > A  101 301 +0 syn_received
         < A  301 101 +0 established",
    );
}

#[test]
fn resets_and_what_passes_after_them() {
    play(
        "> S  100 0   +0 syn_sent
         < RA 0   101 +0 closed
         > S  200 0   +0 syn_sent
         < SA 300 201 +0 syn_received
         > R  201 0   +0 closed
         < SA 300 201 +0 (closed)
         < A  301 201 +4 closed
         > FA 201 305 +0 closed",
    );
}

#[test]
fn a_closed_connection_reopens_from_its_opener() {
    play(
        "> S  100 0   +0 syn_sent
         < SA 300 101 +0 syn_received
         > A  101 301 +0 established
         > FA 101 301 +0 fin_wait
         < FA 301 102 +0 last_ack
         > A  102 302 +0 time_wait
         > S  900 0   +0 syn_sent
         < SA 700 901 +0 syn_received
         > A  901 701 +0 established
         < A  701 901 +0 established",
    );
}

#[test]
fn half_open_connections_heal() {
    // The opener has rebooted, and opens anew: the peer's challenge makes it send a RST.
    play(
        "> S  100 0   +0 syn_sent
         < SA 300 101 +0 syn_received
         > A  101 301 +0 established
         > S  900 0   +0 (established)
         < A  301 101 +0 established
         > R  101 0   +0 closed
         > S  900 0   +0 syn_sent",
    );
    // So does the gateway know nothing of the old connection.
    play(
        "> S  900 0   +0 syn_sent
         < A  301 101 +0 (syn_sent)
         > R  101 0   +0 (syn_sent)
         > S  900 0   +0 syn_sent",
    );
}

#[test]
fn both_ends_have_forgotten_and_open_anew() {
    play(
        "> S  100 0   +0 syn_sent
         < SA 300 101 +0 syn_received
         > A  101 301 +0 established
         > S  2000000000 0 +0 (established)
         < SA 3000000000 2000000001 +0 syn_received
         > A  2000000001 3000000001 +9 established
         < A  3000000001 2000000010 +5 established
         < A  301 101 +0 established!",
    );
    // A SYN-ACK that answers nothing does not.
    play(
        "> S  100 0   +0 syn_sent
         < SA 300 101 +0 syn_received
         > A  101 301 +0 established
         < SA 3000000000 2000000001 +0 (established)
         > A  101 301 +9 established",
    );
}

#[test]
fn a_syn_with_another_number() {
    // Either of them may be answered.
    for answered in [101, 900_001] {
        play(&format!(
            "> S  100 0   +0 syn_sent
             > S  900000 0 +0 syn_sent
             < SA 300 500 +0 (syn_sent)
             < SA 300 {answered} +0 syn_received
             > A  {answered} 301 +5 established"
        ));
    }
    // A server that keeps nothing answers each SYN with a number of its own.
    for acknowledged in [301, 70_000_001] {
        play(&format!(
            "> S  100 0   +0 syn_sent
             < SA 300 101 +0 syn_received
             > S  100 0   +0 (syn_received)
             < SA 70000000 101 +0 syn_received
             > A  101 555 +0 (syn_received)
             > A  101 {acknowledged} +0 established
             < A  {acknowledged} 101 +5 established"
        ));
    }
}

#[test]
fn data_in_the_handshake() {
    // With the SYN, acknowledged or not; and the server's, before the handshake is done (RFC 7413).
    for acknowledged in [101, 150, 201] {
        play(&format!(
            "> S  100 0   +100 syn_sent
             < SA 300 {acknowledged} +0 syn_received
             < A  301 {acknowledged} +900 syn_received
             > A  {acknowledged} 1201 +5 established"
        ));
    }
}

#[test]
fn split_handshake() {
    play(
        "> S  100 0   +0 syn_sent
         < A  300 101 +0 (syn_sent)
         < S  300 0   +0 syn_sent2
         > SA 100 301 +0 syn_received
         < A  301 101 +0 established",
    );
}

#[test]
fn a_reset_in_the_window_is_doubted() {
    play(
        "> S  100 0   +0 syn_sent
         < SA 300 101 +0 syn_received
         > A  101 301 +50 established
         > R  120 0   +0 established?
         > R  300 0   +0 established?
         > R  99999 0 +0 (established)
         < A  301 151 +0 established
         > R  151 0   +0 closed",
    );
}

#[test]
fn picked_up_is_established_once_the_other_end_answers() {
    play(
        "> PA 500 900 +10 syn_received
         > A  510 900 +10 syn_received
         < A  900 520 +0 established",
    );
    play(
        "> FA 500 900 +0 syn_received
         < A  900 501 +0 fin_wait
         < FA 900 501 +0 last_ack
         > A  501 901 +0 time_wait",
    );
}

#[test]
fn a_responder_may_close_before_the_handshake_is_done() {
    play(
        "> S  100 0   +0 syn_sent
         < SA 300 101 +0 syn_received
         < FA 301 101 +0 syn_received
         > A  101 301 +0 close_wait
         > FA 101 302 +0 last_ack
         < A  302 102 +0 time_wait",
    );
}

/// Every state with every kind of segment in the windows: the state after it, `-` where it has no effect, or the reason why
/// not. FINs and ACKs in this table acknowledge nothing new.
#[test]
fn all_transitions() {
    const TABLE: &str = "
        state          >S          <S          >SA          <SA          >A           <A           >FA          <FA          >R         <R
        syn_sent       syn_sent    syn_sent2   opener       received>    unsync       -            unsync       unsync       -          -
        syn_sent2      syn_sent2   syn_sent2   received<    received>    unsync       unsync       unsync       unsync       -          -
        received>      -           -           established  received>    established  received>    fin_wait     received>    closed     -
        received<      -           -           received<    established  received<    established  received<    close_wait   -          closed
        established    -           -           -            -            established  established  fin_wait     close_wait   closed     closed
        fin_wait       -           -           -            -            fin_wait     fin_wait     fin_wait     last_ack     closed     closed
        close_wait     -           -           -            -            close_wait   close_wait   last_ack     close_wait   closed     closed
        last_ack       syn_sent    responder   opener       -            last_ack     last_ack     last_ack     last_ack     closed     closed
        time_wait      syn_sent    responder   opener       -            time_wait    time_wait    time_wait    time_wait    -          -
        closed         syn_sent    responder   opener       -            closed       closed       closed       closed       closed     closed
    ";
    fn name(state: TcpState) -> &'static str {
        match state {
            SynReceived {
                waiting_for: Original,
            } => "received>",
            SynReceived { waiting_for: Reply } => "received<",
            state => state.name(),
        }
    }
    fn word(result: Result<Effect<TcpState>, Invalid>) -> &'static str {
        match result {
            Ok(Effect::To(state)) => name(state),
            Ok(Effect::None) => "-",
            Ok(Effect::Doubt) => "doubt",
            Err(Invalid::TcpSynAckFromOpener) => "opener",
            Err(Invalid::TcpSynFromResponder) => "responder",
            Err(Invalid::TcpNotSynchronized) => "unsync",
            Err(error) => panic!("{error}"),
        }
    }
    let open = Window {
        end: 100,
        limit: 200,
    };
    let opening = Window { end: 50, limit: 50 };
    let [received_original, received_reply] =
        [Original, Reply].map(|waiting_for| SynReceived { waiting_for });
    let states = [
        (SynSent, [opening, Window::default()], 0),
        (SynSent2, [opening; 2], 0),
        (received_original, [open, opening], 0),
        (received_reply, [opening, open], 0),
        (Established, [open; 2], 0),
        (FinWait, [open; 2], 0b0001),
        (CloseWait, [open; 2], 0b0010),
        (LastAck, [open; 2], 0b0011),
        (TimeWait, [open; 2], 0b1111),
        (Closed, [open; 2], 0),
    ];
    let mut lines = TABLE.lines().map(str::trim).filter(|line| !line.is_empty());
    let columns: Vec<_> = lines.next().unwrap().split_whitespace().skip(1).collect();
    for (state, windows, fins) in states {
        let mut row = lines.next().unwrap().split_whitespace();
        assert_eq!(row.next(), Some(name(state)));
        let before = Memory {
            windows,
            fins: Fins(fins),
            scales: Scales(0x11),
            ..Memory::default()
        };
        for column in &columns {
            let direction = if column.starts_with('>') {
                Original
            } else {
                Reply
            };
            let segment = segment(&column[1..], 100, 50, 0);
            let mut after = before;
            let result = step(state, &mut after, direction, &segment);
            assert_eq!(Some(word(result)), row.next(), "{state} {column}");
            if result.is_err() {
                assert_eq!(after, before, "{state} {column}");
            }
        }
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn flags_that_exclude_each_other() {
    for flags in [
        "", "P", "F", "FP", "SF", "SR", "SFA", "SRA", "RF", "RFA", "SFR",
    ] {
        let segment = segment(flags, 1, 1, 0);
        let mut memory = Memory::default();
        let error = Err(Invalid::TcpFlags);
        assert_eq!(
            step(TcpState::Established, &mut memory, Original, &segment),
            error,
            "{flags}"
        );
        assert_eq!(
            admits_new(&segment, true),
            Err(Invalid::TcpFlags),
            "{flags}"
        );
    }
}

#[test]
fn what_begins_a_connection() {
    let not = Err(Invalid::TcpNotABeginning);
    for (flags, strict, pickup) in [
        ("S", Ok(()), Ok(())),
        ("SP", Ok(()), Ok(())),
        ("SA", not, not),
        ("R", not, not),
        ("RA", not, not),
        ("A", not, Ok(())),
        ("PA", not, Ok(())),
        ("FA", not, Ok(())),
    ] {
        let segment = segment(flags, 1, 1, 0);
        assert_eq!(admits_new(&segment, false), strict, "{flags}");
        assert_eq!(admits_new(&segment, true), pickup, "{flags}");
    }
}

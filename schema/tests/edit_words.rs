//! What people read while they edit: errors that point at a word, what could stand next, and edits as commands.

use rewire_schema::edit::{self, Command, Edits, Target, complete, explain, parse_script, words};
use rewire_schema::{Configuration, source};

const STATE: &str = "
vpcs:
  blue:
    description: \"the inside\"
    routes:
      0.0.0.0/0:
        next_hops: [{interface: wan, via: 203.0.113.2}, {interface: wan, via: 203.0.113.3}]
      10.9.0.0/16: {type: blackhole}
  internet: {}
interfaces:
  lan: {vpc: blue, port: \"null:lan\", mac: 02:00:00:00:00:01, addresses: [10.1.0.1/24]}
  wan: {vpc: internet, port: \"null:wan\", mac: 02:00:00:00:00:02, mtu: 9000, addresses: [203.0.113.1/24]}
nat:
  pools:
    outside: {vpc: internet, ranges: [203.0.113.10-203.0.113.20]}
  masquerade:
    out: {vpc: blue, interface: wan, pool: outside, sources: [10.0.0.0/8]}
";

fn state() -> Configuration {
    let read = source::read("state.yaml", STATE.as_bytes());
    read.unwrap_or_else(|errors| panic!("{errors}"))
        .configuration
}

fn run(edits: &mut Edits, line: &str) -> String {
    let split = words::split(line).unwrap();
    let words: Vec<&str> = split.iter().map(|word| word.text.as_str()).collect();
    let done = Command::parse(&words).and_then(|command| edit::apply(&state(), edits, &command));
    match done {
        Err(error) => explain("command", 1, &words, &error).to_string(),
        Ok(outcome) => {
            let mut text = String::new();
            for change in outcome.changes().iter() {
                let sign = match (change.before(), change.after()) {
                    (None, _) => '+',
                    (_, None) => '-',
                    _ => '~',
                };
                text.push_str(&format!("{sign} {}\n", change.row().path()));
            }
            for incomplete in outcome.incomplete() {
                text.push_str(&format!("note: {incomplete}\n"));
            }
            text
        }
    }
}

/// Each line with what it gives, one after another on the same edits.
fn session(lines: &[&str]) -> String {
    let mut edits = Edits::default();
    let told = lines
        .iter()
        .map(|line| format!("> {line}\n{}\n", run(&mut edits, line)));
    let told: String = told.collect();
    format!("{told}> as commands\n{}", edits.to_set_commands())
}

#[test]
fn errors_point_at_a_word_and_say_what_could_stand_there() {
    insta::assert_snapshot!(session(&[
        "",
        "sett vpcs blue",
        "set",
        "set nat",
        "set vpcs",
        "set vcps blue",
        "set vpcs -x",
        "set vpcs blue rutes",
        "set vpcs blue routes 10.0.0.1/8",
        "set vpcs blue routes 10.0.0.0/8 type",
        "set vpcs blue routes 10.0.0.0/8 type blackhol",
        "set vpcs blue routes 0.0.0.0/0 next_hops",
        "set vpcs blue routes 0.0.0.0/0 next_hops first",
        "set vpcs blue routes 0.0.0.0/0 next_hops 3 via 10.0.0.1",
        "set interfaces lan mtu 100",
        "set interfaces lan mtu 9000 mut 1500",
        "set interfaces lan addresses",
        "set vpcs.blue.rutes.10.0.0.0/8",
        "delete",
        "delete vpcs blu",
        "delete vpcs blu routes 0.0.0.0/0",
        "delete vpcs blue routes 1.0.0.0/8",
        "delete vpcs blue routes 0.0.0.0/0 next_hops 2",
        "delete vpcs blue routes 0.0.0.0/0 next_hops +",
        "delete vpcs blue description more",
        "delete nat static",
        "rename vpcs blue",
        "rename vpcs blue to",
        "rename vpcs blue to internet",
        "rename vpcs green to red",
        "rename vpcs to red",
        "rename vpcs blue to \"a b\"",
        "rename vpcs blue routes 0.0.0.0/0 next_hops 0 to 1",
        "rename vpcs blue description to x",
        "annotate",
        "annotate vpcs blue \"two\u{1b}lines\"",
        "deactivate nat",
        "deactivate interfaces",
        "deactivate interfaces lan mtu",
        "deactivate interfaces lan vpc",
        "deactivate interfaces lan annotation",
        "deactivate interfaces lan mtuu",
        "deactivate interfaces lan marks mac",
        "annotate interfaces lan mtu \"why\"",
        "annotate interfaces lan mac",
        "activate interfaces lan addresses mac",
        "set interfaces lan marks mac",
        "activate interfaces lam",
    ]));
}

#[test]
fn edits_follow_each_other() {
    insta::assert_snapshot!(session(&[
        "set interfaces dmz vpc dmz",
        "set interfaces dmz addresses 10.2.0.1/24 10.2.1.1/24 port null:dmz",
        "set interfaces dmz mac 02:00:00:00:00:03",
        "set vpcs dmz description \"between the two\" routes 0.0.0.0/0 next_hops + interface wan via 203.0.113.2",
        "set vpcs blue routes 0.0.0.0/0 next_hops +1 interface wan via 203.0.113.9",
        "delete vpcs blue routes 0.0.0.0/0 next_hops 0",
        "set vpcs.blue.routes.0.0.0.0/0.next_hops[1].via 203.0.113.4",
        "rename interfaces wan to uplink",
        "copy vpcs blue to red",
        "deactivate vpcs red",
        "annotate vpcs red \"not yet\"",
        "set interfaces lan deactivated annotation \"on the bench\"",
        "activate interfaces lan",
        "deactivate interfaces lan mac",
        "annotate interfaces lan mac \"of the old card\"",
        "annotate vpcs blue routes 10.9.0.0/16 type why",
        "set interfaces lan mtu 9000",
        "deactivate interfaces lan mtu",
        "activate interfaces lan mac",
        "set interfaces lan mtu 1500",
        "rename nat pools outside ranges 203.0.113.10-203.0.113.20 to 203.0.113.16-203.0.113.31",
        "delete interfaces lan mac",
        "delete interfaces uplink mtu",
        "delete nat masquerade",
        "set vpcs blue routes 10.9.0.0/16 type unreachable",
        "set vpcs blue routes 10.9.0.0/16 type unreachable",
    ]));
}

#[test]
fn scripts_are_refused_with_line_and_column() {
    let text = "# first\nset vpcs green\n  set vpcs green rutes 10.0.0.0/8 # no\n\nset interfaces lan \"mtu\" '9\ndelete\n";
    let errors = parse_script("change.set", text.as_bytes()).unwrap_err();
    insta::assert_snapshot!("script_words", errors.to_string());
    let text = "set vpcs green\r\ndelete vpcs \"blu\"\r\n";
    let script = parse_script("change.set", text.as_bytes()).unwrap();
    let mut edits = Edits::default();
    let errors = script.apply(&state(), &mut edits).unwrap_err();
    assert_eq!(edits, Edits::default());
    insta::assert_snapshot!("script_absent", errors.to_string());
    for (bytes, message) in [
        (
            &b"set vpcs gr\xffn"[..],
            "expected UTF-8 text, found the byte 0xff",
        ),
        (b"\x00\x01\x02", "no such command"),
        (b"\xef\xbb\xbfset vpc green", "no field \"vpc\""),
    ] {
        let errors = parse_script("bytes", bytes).unwrap_err().to_string();
        assert!(errors.contains(message), "{errors}");
    }
    assert!(
        parse_script("empty", b"\n \n# nothing\n")
            .unwrap()
            .lines
            .is_empty()
    );
}

fn offered(context: &str, line: &str) -> String {
    let mut edits = Edits::default();
    run(&mut edits, "set interfaces draft vpc blue");
    let context: Vec<&str> = context.split_whitespace().collect();
    let (before, partial) = line.rsplit_once(' ').unwrap_or(("", line));
    let before: Vec<&str> = before.split_whitespace().collect();
    let mut text = format!("[{}] {line}_\n", context.join(" "));
    match complete(&state(), &edits, &context, &before, partial) {
        Err(error) => text.push_str(&format!("  {error}\n")),
        Ok(completion) => {
            for one in completion.candidates {
                text.push_str(&format!("  {:<16} {}\n", one.text, one.help));
            }
            for one in completion.hints {
                text.push_str(&format!("  {:<16} {} (hint)\n", one.text, one.help));
            }
            if completion.complete {
                text.push_str("  (complete)\n");
            }
        }
    }
    text
}

#[test]
fn what_can_stand_next_comes_from_model_and_data() {
    let text: String = [
        ("", ""),
        ("", "de"),
        ("", "set "),
        ("", "set v"),
        ("", "set vpcs "),
        ("", "set vpcs b"),
        ("", "set vpcs blue "),
        ("", "set vpcs blue routes "),
        ("", "set vpcs blue routes 0.0.0.0/0 next_hops "),
        ("", "set vpcs blue routes 0.0.0.0/0 next_hops 0 "),
        ("", "set vpcs blue routes 0.0.0.0/0 next_hops + interface "),
        ("", "set vpcs blue routes 0.0.0.0/0 type "),
        ("", "set interfaces draft "),
        ("", "set interfaces wan mtu "),
        ("", "set interfaces lan deactivated "),
        ("", "set interfaces lan addresses "),
        ("", "set interfaces lan addresses 10.1.0.1/24 "),
        ("", "set nat masquerade out pool "),
        ("", "set nonsense "),
        ("", "delete interfaces "),
        ("", "delete interfaces lan addresses "),
        ("", "rename interfaces lan "),
        ("", "rename interfaces lan to "),
        ("", "annotate interfaces lan "),
        ("", "annotate interfaces lan mac "),
        ("", "deactivate interfaces lan "),
        ("", "activate interfaces lan "),
        ("interfaces lan", "set "),
        ("vpcs blue routes", "delete "),
    ]
    .iter()
    .map(|(context, line)| offered(context, line))
    .collect();
    insta::assert_snapshot!(text);
}

#[test]
fn a_place_is_written_as_commands() {
    let all = edit::to_set_commands(&state());
    insta::assert_snapshot!("all_as_commands", all);
    for (path, lines) in [
        ("", all.lines().count()),
        ("interfaces lan mtu", 1),
        ("interfaces", 4),
        ("vpcs blue routes 0.0.0.0/0 next_hops 1", 1),
        ("nat", 4),
        ("vpcs green", 0),
    ] {
        let words: Vec<&str> = path.split_whitespace().collect();
        let target = Target::resolve(&words).unwrap();
        let part = edit::set_commands(&state(), &target).unwrap();
        assert_eq!(part.lines().count(), lines, "{path}: {part}");
        if path != "interfaces lan mtu" {
            assert!(all.contains(&part), "{path}: {part}");
        }
    }
}

//! How fast the journal reads and writes, over routes and their next hops:
//! `cargo run --release --package rewire-journal --example speed [ROUTES]`.
//!
//! The benchmarks proper, beside their peers, are in `bench/`; this one is for finding out where the time goes.

use std::hint::black_box;
use std::time::Duration;

use rewire_journal::export::{Floor, Header, Reader, Writer};
use rewire_journal::{
    Chain, Entry, EntryKind, Hash, RowFilter, StateDigest, WantedRows, decode, encode, find,
    genesis,
};
use rewire_schema::{Change, Changeset, Row, Table, Value};

/// A row of a table from its first values; all others are NULL.
fn row(table: Table, values: &[Value]) -> Row {
    let mut all = vec![Value::Null; table.definition().columns.len()];
    all[..values.len()].clone_from_slice(values);
    Row::from_values(table, &all).expect("the values are right")
}

fn routes(count: u32) -> Changeset {
    let text = |text: &str| Value::Text(text.to_owned());
    let rows = (0..count).flat_map(|n| {
        let prefix = Value::Text(format!("10.{}.{}.{}/32", n >> 16, n >> 8 & 255, n & 255));
        let via = Value::Text(format!("192.0.2.{}", n % 250));
        let route = [text("blue"), prefix.clone(), Value::Null, text("unicast")];
        let hop = [text("blue"), prefix, Value::Integer(0), text("wan"), via];
        [row(Table::Route, &route), row(Table::NextHop, &hop)]
    });
    rows.map(Change::Insert).collect()
}

/// How long this thread has run: time on the processor, so that other work on the machine disturbs less.
fn clock() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The best of several runs, which is the least disturbed one.
fn time<T>(mut work: impl FnMut() -> T) -> Duration {
    let run = || {
        let start = clock();
        black_box(work());
        clock() - start
    };
    std::iter::repeat_with(run)
        .take(15)
        .min()
        .unwrap_or_default()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u32 = match std::env::args().nth(1) {
        Some(count) => count.parse()?,
        None => 50_000,
    };
    let changeset = routes(count);
    let bytes = encode(&changeset);
    println!("{} rows, {} bytes", changeset.len(), bytes.len());
    let say = |what: &str, length: usize, took: Duration| {
        println!(
            "{what:28} {:9.3} ms  {:7.0} MB/s  {:6.0} ns/row",
            took.as_secs_f64() * 1e3,
            length as f64 / took.as_secs_f64() / 1e6,
            took.as_nanos() as f64 / changeset.len() as f64,
        );
    };
    say("encode", bytes.len(), time(|| encode(&changeset)));
    say("decode", bytes.len(), time(|| decode(&bytes)));
    let last = changeset.iter().last().ok_or("no rows")?.row().row_key();
    let wanted: WantedRows = [last].into_iter().collect();
    say(
        "find the last row",
        bytes.len(),
        time(|| find(&bytes, &wanted)),
    );
    say(
        "filter of it",
        bytes.len(),
        time(|| RowFilter::of(&changeset)),
    );
    let filter = RowFilter::of(&changeset);
    say("ask the filter", 0, time(|| wanted.may_be_in(&filter)));
    say(
        "digest",
        bytes.len(),
        time(|| {
            let mut digest = StateDigest::EMPTY;
            digest.apply(&changeset);
            digest
        }),
    );

    say(
        "filter of the bytes",
        bytes.len(),
        time(|| RowFilter::of_encoded(&bytes)),
    );
    say(
        "digest of the bytes",
        bytes.len(),
        time(|| {
            let mut digest = StateDigest::EMPTY;
            digest.apply_encoded(&bytes)
        }),
    );

    let identity = [7; 16];
    let floor = Floor::beginning(&identity);
    let mut chain = Chain::new(genesis(&identity));
    let mut entries = Vec::new();
    for revision in 1..=4 {
        let entry = Entry {
            revision,
            kind: EntryKind::Commit,
            author: "ada".to_owned(),
            message: String::new(),
            committed_at: 0,
            schema_version: 3,
            parent: chain.hash,
            state_digest: StateDigest::EMPTY,
            changeset: bytes.clone(),
            hash: Hash::from_bytes([0; 32]),
        }
        .sealed();
        chain.follow(&entry)?;
        entries.push(entry);
    }
    let length = entries.len() * bytes.len();
    say(
        "follow the chain",
        length,
        time(|| rewire_journal::verify_chain(genesis(&identity), &entries)),
    );
    say(
        "decode and follow",
        length,
        time(|| {
            let mut chain = Chain::new(genesis(&identity));
            entries.iter().try_for_each(|entry| {
                chain.follow(entry)?;
                entry.decode_changeset().map(drop)
            })
        }),
    );
    let write = || {
        let mut writer = Writer::new(
            Vec::with_capacity(length + 4096),
            &Header {
                identity,
                floor,
                has_state: false,
            },
        )?;
        entries.iter().try_for_each(|entry| writer.write(entry))?;
        writer.finish()
    };
    let (file, _) = write()?;
    say("write a file", file.len(), time(write));
    say(
        "read a file",
        file.len(),
        time(|| Reader::new(&file[..])?.try_for_each(|entry| entry.map(drop))),
    );
    Ok(())
}

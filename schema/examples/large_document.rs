//! How long documents of a million routes take (on the clock, and of the processor), and how much memory: written as YAML and JSON, read, and loaded.
//!
//! `cargo run --release -p rewire-schema --example large_document -- [ROUTES]`. Peaks are of the whole process so far
//! (`VmHWM`): each step is one of its own, given as a second argument (`write`, `yaml`, `json`, `flow`, `wrong`, `merge`),
//! and without one the example starts itself for each.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rewire_schema::load::{Mode, load_with};
use rewire_schema::{Configuration, source};

const STEPS: [&str; 6] = ["write", "yaml", "json", "flow", "wrong", "merge"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let routes: u32 = arguments.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let folder = std::env::temp_dir().join(format!("rewire-large-document-{routes}"));
    if let Some(step) = arguments.next() {
        return run(&step, &folder, routes);
    }
    std::fs::create_dir_all(&folder)?;
    for step in STEPS {
        let program = std::env::current_exe()?;
        let status = Command::new(program)
            .args([&routes.to_string(), step])
            .status()?;
        assert!(status.success(), "{step}");
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn run(step: &str, folder: &Path, routes: u32) -> Result<(), Box<dyn Error>> {
    if step == "write" {
        return write(folder, routes);
    }
    let file = match step {
        "json" => "routes.json",
        "flow" | "wrong" => step,
        _ => "routes.yaml",
    };
    let bytes = std::fs::read(folder.join(file))?;
    let size = bytes.len();
    let start = Start::now();
    let outcome = match step {
        "merge" => {
            let base = Configuration::default();
            let loaded = load_with(file, bytes, Mode::Merge, &base, &mut |_, _| {})?;
            format!("{} changes", loaded.changeset.len())
        }
        _ => match source::read_with(file, bytes, &mut |_, _| {}) {
            Ok(source) => format!("{} rows", source.configuration.len()),
            Err(errors) => format!("{} errors", errors.len()),
        },
    };
    report(step, start, size, &outcome);
    Ok(())
}

fn write(folder: &Path, routes: u32) -> Result<(), Box<dyn Error>> {
    let mut text = String::from("vpcs:\n  blue:\n    description: a full table\n    routes:\n");
    let mut flow = String::from("vpcs:\n  blue:\n    routes:\n");
    for number in 0..routes {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number * 16);
        let via = 2 + number % 250;
        writeln!(
            text,
            "      {address}/28:\n        next_hops:\n          - interface: wan\n            via: 203.0.113.{via}"
        )?;
        writeln!(
            flow,
            "      {address}/28: {{next_hops: [{{interface: wan, via: 203.0.113.{via}}}]}}"
        )?;
    }
    let rest = "interfaces:\n  wan:\n    vpc: blue\n    port: null:wan\n    mac: 02:00:00:00:00:01\n    addresses:\n      - 203.0.113.1/24\n";
    text.push_str(rest);
    flow.push_str(rest);
    std::fs::write(folder.join("flow"), &flow)?;
    std::fs::write(folder.join("wrong"), text.replacen("mac: 02", "mac: 03", 1))?;
    drop(flow);
    let rows = source::read("routes", text.as_bytes())?.configuration;
    drop(text);
    let start = Start::now();
    source::write_yaml(
        &rows,
        &mut std::fs::File::create(folder.join("routes.yaml"))?,
    )?;
    let size = std::fs::metadata(folder.join("routes.yaml"))?.len() as usize;
    report("write yaml", start, size, "written");
    let start = Start::now();
    source::write_json(
        &rows,
        &mut std::fs::File::create(folder.join("routes.json"))?,
    )?;
    let size = std::fs::metadata(folder.join("routes.json"))?.len() as usize;
    report("write json", start, size, "written");
    Ok(())
}

/// When a step began: on the clock, and in the time that this process has had of the processor.
struct Start(Instant, f64);

impl Start {
    fn now() -> Self {
        Start(Instant::now(), processor())
    }
}

/// Seconds that this process has had of the processor, the system's for it included.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn report(what: &str, start: Start, size: usize, outcome: &str) {
    let (time, processor) = (start.0.elapsed().as_secs_f64(), processor() - start.1);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap_or("-").trim();
    println!(
        "{what:10} {} MB in {time:.2} s ({processor:.2} s of the processor), {outcome}, peak {peak}",
        size / 1_000_000
    );
}

//! Filters in the syntax of pcap (pcap-filter(7)), compiled by tcpdump, which needs no rights for it.

use std::process::Command;

use crate::failure::{Code, Failure};
use crate::terminal::clean;

/// Compiles a filter for Ethernet frames, to a program as text; none for an empty one, which is for all packets.
///
/// # Errors
/// tcpdump is not there, or does not understand the filter.
pub(crate) fn compile(words: &[String]) -> Result<Option<String>, Failure> {
    let filter = words.join(" ");
    if filter.trim().is_empty() {
        return Ok(None);
    }
    let output = Command::new("tcpdump")
        .args(["-ddd", "-y", "EN10MB", "--", &filter])
        .output();
    let output = output.map_err(|error| {
        Failure::new(
            Code::Failed,
            format!("cannot run tcpdump, which compiles filters: {error}"),
        )
        .help("install tcpdump, or leave the filter out")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().last().unwrap_or_default();
        let why = why.strip_prefix("tcpdump: ").unwrap_or(why);
        let message = format!(
            "the filter \"{}\" cannot be read: {}",
            clean(&filter),
            clean(why)
        );
        return Err(Failure::new(Code::WrongArguments, message)
            .help("filters are those of pcap-filter(7), like: tcp port 443 and host 10.0.1.5"));
    }
    Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
}

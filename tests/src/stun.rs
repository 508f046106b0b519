use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::lab::Lab;
use crate::process::Running;
use crate::wait::{until, until_for};

/// Longer than the client waits for all the answers that a NAT may keep from it.
const ALL_ANSWERS: Duration = Duration::from_secs(60);

/// A STUN server in the internet that answers from two addresses and two ports, as behaviour discovery needs it (RFC 5780,
/// section 7): coturn's `turnserver` on 203.0.113.2 and 198.51.100.1.
#[derive(Debug)]
pub struct StunServer {
    // First, so that it ends before its folder does.
    _running: Running,
    _directory: TempDir,
}

impl StunServer {
    /// The address at which clients ask it. Asked at its other one, this server names no alternate address.
    pub const ADDRESS: &str = "203.0.113.2";

    /// Starts it, and waits until it listens.
    pub fn start(lab: &Lab) -> Self {
        let directory = tempfile::tempdir().expect("a folder for temporary files");
        let mut command = Command::new("turnserver");
        command
            .args([
                "-n",
                "--no-cli",
                "--stun-only",
                "--no-tls",
                "--no-dtls",
                "--no-tcp",
            ])
            .args([
                "--listening-ip",
                Self::ADDRESS,
                "--listening-ip",
                "198.51.100.1",
            ])
            .args(["--log-file", "stdout", "--simple-log"])
            .arg("--pidfile")
            .arg(directory.path().join("pid"))
            .arg("--db")
            .arg(directory.path().join("db"));
        let server = lab.internet.start(command);
        until("the STUN server listens on all of its sockets", || {
            let listening = lab.internet.udp_listeners(&[3478, 3479]);
            (listening >= 4).then_some(())
        });
        StunServer {
            _running: server,
            _directory: directory,
        }
    }
}

/// The lines that coturn's `turnutils_natdiscovery` prints when blue asks the server with these options.
#[track_caller]
pub fn nat_discovery(lab: &Lab, options: &[&str]) -> Vec<String> {
    let mut command = Command::new("turnutils_natdiscovery");
    command.args(options).arg(StunServer::ADDRESS);
    let mut running = lab.blue.start(command);
    until_for(ALL_ANSWERS, "the client has found out", || {
        (!running.is_running()).then_some(())
    });
    running.finish();
    running.lines()
}

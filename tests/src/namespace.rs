use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::ping::{Ping, RunningPing};
use crate::process::Running;

/// Where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";
const PREFIX: &str = "rw-e2e-";

/// What a kernel has counted of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpBytes {
    /// Of packets that came in.
    pub received: u64,
    /// Of packets that went out.
    pub sent: u64,
}

/// A network namespace that goes away with this value. The kernel speaks IPv4 only in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// A new one; `role` is a part of its name.
    pub fn new(role: &str) -> Self {
        let name = format!("{PREFIX}{}-{role}", std::process::id());
        ip(&format!("netns add {name}"));
        let file = File::open(Path::new(NAMES).join(&name)).expect("the namespace was just made");
        let namespace = Namespace { name, file };
        for scope in ["all", "default"] {
            namespace.set(&format!("ipv6/conf/{scope}/disable_ipv6"), "1");
        }
        namespace.ip("link set lo up");
        namespace
    }

    /// Deletes what tests have left behind that were killed.
    pub(crate) fn sweep() {
        for entry in fs::read_dir(NAMES).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let process = name
                .strip_prefix(PREFIX)
                .and_then(|rest| rest.split('-').next());
            if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                // Another test may be sweeping, too.
                let _ = Command::new("ip").args(["netns", "delete", &name]).output();
            }
        }
    }

    /// The name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip ARGUMENTS` in the namespace.
    pub fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name));
    }

    /// Sets `/proc/sys/net/KEY`.
    pub fn set(&self, key: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(key);
        self.run(|| fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Runs the closure on a thread of its own in the namespace. Sockets that it opens and processes that it starts
    /// belong there for good.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(self.file.as_fd(), network)
                    .expect("root may enter a namespace");
                work()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a program in the namespace; it ends with the returned value.
    pub fn start(&self, mut command: Command) -> Running {
        self.run(move || Running::start(&mut command))
    }

    /// The bytes of IPv4 packets, their headers included, that the kernel has sent and received here, but for fragments.
    pub fn ip_bytes(&self) -> IpBytes {
        let counted = self.run(|| fs::read_to_string("/proc/thread-self/net/netstat"));
        let counted = counted.expect("the kernel tells");
        let mut lines = counted.lines().filter(|line| line.starts_with("IpExt:"));
        let mut words = || lines.next().unwrap_or_default().split_whitespace();
        let (names, values) = (words(), words());
        let fields: Vec<_> = names.zip(values).collect();
        let number = |name| {
            let field = fields.iter().find(|(field, _)| *field == name);
            let number = field.and_then(|(_, value)| value.parse().ok());
            number.unwrap_or_else(|| panic!("the kernel counts no {name}: {counted}"))
        };
        IpBytes {
            received: number("InOctets"),
            sent: number("OutOctets"),
        }
    }

    /// How many IPv4 UDP sockets are bound to one of these ports.
    pub(crate) fn udp_listeners(&self, ports: &[u16]) -> usize {
        // Of the thread that asks: the process is in another namespace.
        let sockets = self.run(|| fs::read_to_string("/proc/thread-self/net/udp"));
        let sockets = sockets.expect("the kernel tells");
        let port = |line: &str| {
            let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
            u16::from_str_radix(port, 16).ok()
        };
        let bound = sockets.lines().skip(1).filter_map(port);
        bound.filter(|port| ports.contains(port)).count()
    }

    /// `ping OPTIONS ADDRESS`, to its end.
    pub fn ping(&self, address: &str, options: &str) -> Ping {
        Ping::run(self, address, options)
    }

    /// A ping every 20 ms, in the background.
    pub fn keep_pinging(&self, address: &str) -> RunningPing {
        RunningPing::start(self, address)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .output();
    }
}

/// A cable from an interface of one namespace to one of another, both up. Frames leave the right one as a network card
/// would send them: a veth pair hands over partial checksums and super-frames otherwise.
pub(crate) fn cable(left: (&Namespace, &str), right: (&Namespace, &str)) {
    let ((left, port), (right, end)) = (left, right);
    left.ip(&format!(
        "link add {port} type veth peer name {end} netns {}",
        right.name
    ));
    let offloads = ["tx", "gso", "tso", "gro"]
        .map(|offload| [offload, "off"])
        .concat();
    let output = right.run(|| {
        Command::new("ethtool")
            .args(["-K", end])
            .args(offloads)
            .output()
    });
    let output = output.expect("ethtool is there");
    assert!(output.status.success(), "ethtool: {output:?}");
    right.ip(&format!("link set {end} up"));
    left.ip(&format!("link set {port} up"));
}

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("iproute2 is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
}

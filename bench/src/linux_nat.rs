//! Linux as a peer: a router in a network namespace, which translates sources to a pool (nf_conntrack, and a rule of
//! nftables).
//!
//! It has the routes, the addresses and the pool of [`rewire_instructions::masqueraded::document`]. Frames come in as from a network card's driver, 64 at
//! a time, and leave by a device that swallows them and counts: no card, and no cable, is in the figure, as in ours. What the
//! frames' making costs is measured apart, with frames that are dropped at once, and taken off. The table of connections is
//! larger than it must be.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Instant;

use rewire_instructions::masqueraded::ROUTES;
use rewire_instructions::worker::BURST;

use crate::bpf::{self, FRAME, Verdict};
use crate::stores::Failure;
use crate::veth::{enter_new_namespace, ip};

const INSIDE: &str = "inside";
const OUTSIDE: &str = "outside";
const NEXT_HOP: &str = "203.0.113.2";

/// What the rule does. A pool is what ours does; a masquerade has one address, and ports that several connections share.
const RULES: &str = "\
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname \"outside\" ip saddr 10.0.0.0/8 snat to 198.18.0.0-198.18.0.255
    }
}
";

/// A setting of the kernel's, which is as it was when this goes.
struct Setting {
    file: File,
    before: String,
}

impl Setting {
    fn at_least(path: &str, wanted: u64) -> Result<Setting, Failure> {
        let open = OpenOptions::new().read(true).write(true).open(path);
        let mut file = open.map_err(|error| format!("{path}: {error}"))?;
        let mut before = String::new();
        file.read_to_string(&mut before)?;
        if before.trim().parse::<u64>()? < wanted {
            file.rewind()?;
            file.write_all(wanted.to_string().as_bytes())?;
        }
        Ok(Setting { file, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let back = self.file.rewind();
        let back = back.and_then(|()| self.file.write_all(self.before.as_bytes()));
        if let Err(error) = back {
            eprintln!("a setting of the kernel is not as it was: {error}");
        }
    }
}

/// A router with frames to come in.
pub(crate) struct LinuxNat {
    frames: bpf::Frames,
    number: usize,
    device: u32,
    conntrack: OwnedFd,
    _prepared: [OwnedFd; 2],
    _settings: [Setting; 2],
}

impl LinuxNat {
    /// That gets so many frames at once, and has room for as many connections. The calling thread, and what it starts from now
    /// on, is in the router's namespace then.
    pub(crate) fn new(frames: usize) -> Result<LinuxNat, Failure> {
        let setting = |name: &str, wanted| {
            let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
            Setting::at_least(&path, wanted)
        };
        // Before the namespace: these are of the machine. Two keys a connection, a bucket for each.
        let settings = [
            setting("buckets", 2 * frames as u64)?,
            setting("max", 2 * frames as u64)?,
        ];
        enter_new_namespace()?;
        for (name, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            ("net/netfilter/nf_conntrack_udp_timeout", "3600"),
            ("net/netfilter/nf_conntrack_udp_timeout_stream", "3600"),
        ] {
            let path = format!("/proc/sys/{name}");
            fs::write(&path, value).map_err(|error| format!("{path}: {error}"))?;
        }
        ip(&format!(
            "link add {INSIDE} type veth peer name {INSIDE}-far"
        ))?;
        ip(&format!("link add {OUTSIDE} type ifb"))?;
        ip(&format!("link set {INSIDE} address 02:00:00:00:00:01"))?;
        for device in [INSIDE, &format!("{INSIDE}-far"), OUTSIDE] {
            fs::write(
                format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"),
                "1",
            )?;
            ip(&format!("link set {device} up"))?;
        }
        ip(&format!("address add 10.0.0.1/8 dev {INSIDE}"))?;
        ip(&format!("address add 203.0.113.1/24 dev {OUTSIDE}"))?;
        let neighbor = "lladdr 02:00:00:00:09:09 nud permanent";
        ip(&format!("neighbor add {NEXT_HOP} {neighbor} dev {OUTSIDE}"))?;
        let mut batch = format!("route add default via {NEXT_HOP}\n");
        for number in 0..ROUTES {
            let [_, _, a, b] = number.to_be_bytes();
            let network = Ipv4Addr::new(100, a, b, 0);
            writeln!(batch, "route add {network}/24 via {NEXT_HOP}")?;
        }
        said("ip", &["-batch", "-"], &batch)?;
        said(
            "tc",
            &["qdisc", "replace", "dev", OUTSIDE, "root", "noqueue"],
            "",
        )?;
        let device = index_of(INSIDE)?;
        Ok(LinuxNat {
            frames: bpf::Frames::new(frames)?,
            number: frames,
            device,
            conntrack: conntrack_socket()?,
            _prepared: bpf::prepare(device)?,
            _settings: settings,
        })
    }

    /// Whether it translates, or only forwards.
    pub(crate) fn translate(&self, translates: bool) -> Result<(), Failure> {
        said("nft", &["flush", "ruleset"], "")?;
        match translates {
            true => said("nft", &["-f", "-"], RULES),
            false => Ok(()),
        }
    }

    /// Sends frames that `next` writes, and answers the nanoseconds of one in the router.
    ///
    /// # Errors
    /// Where not all of them have left it.
    pub(crate) fn run(
        &mut self,
        mut next: impl FnMut(&mut [u8; 128]) -> usize,
    ) -> Result<f64, Failure> {
        let mut frame = [0; 128];
        self.frames.write(|bytes| {
            next(&mut frame);
            bytes.copy_from_slice(&frame[..FRAME]);
        });
        let before = left()?;
        let all = self.frames.run(self.device, Verdict::Pass, BURST)?;
        let made = self.frames.run(self.device, Verdict::Drop, BURST)?;
        let came_out = left()? - before;
        if came_out != self.number as u64 {
            return Err(format!("of {} packets, {came_out} came out of Linux", self.number).into());
        }
        Ok(all - made)
    }

    /// How many connections there are.
    pub(crate) fn connections() -> Result<u64, Failure> {
        let count = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")?;
        Ok(count.trim().parse()?)
    }

    /// Ends all connections; answers the nanoseconds of one.
    pub(crate) fn clear(&self) -> Result<f64, Failure> {
        let connections = LinuxNat::connections()?.max(1);
        // struct nlmsghdr, with a message that deletes (IPCTNL_MSG_CT_DELETE, of NFNL_SUBSYS_CTNETLINK) and is answered; and
        // struct nfgenmsg, of any family.
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let mut message = Vec::new();
        message.extend(20u32.to_ne_bytes());
        message.extend((1u16 << 8 | 2).to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend([0; 4]);
        let start = Instant::now();
        // SAFETY: the pointers and lengths are those of the message and of the buffer.
        let (sent, answered) = unsafe {
            let (fd, mut answer) = (self.conntrack.as_raw_fd(), [0u8; 256]);
            let sent = libc::send(fd, message.as_ptr().cast(), message.len(), 0);
            (
                sent,
                libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0),
            )
        };
        let each = start.elapsed().as_nanos() as f64 / connections as f64;
        if sent < 0 || answered < 0 {
            return Err(io::Error::last_os_error().into());
        }
        match LinuxNat::connections()? {
            0 => Ok(each),
            left => Err(format!("{left} connections of Linux are left").into()),
        }
    }
}

fn index_of(device: &str) -> Result<u32, Failure> {
    let name = std::ffi::CString::new(device)?;
    // SAFETY: a C string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error().into()),
        index => Ok(index),
    }
}

fn conntrack_socket() -> Result<OwnedFd, Failure> {
    // SAFETY: no pointers; and the descriptor is new, and nobody else's.
    unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_NETFILTER);
        if fd < 0 {
            return Err(io::Error::last_os_error().into());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Frames that have come to the device that swallows them.
fn left() -> Result<u64, Failure> {
    let devices = fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = devices
        .lines()
        .find_map(|line| line.trim().strip_prefix(OUTSIDE)?.strip_prefix(':'))
        .ok_or("the device is not there")?;
    // Bytes, then packets.
    let packets = line.split_whitespace().nth(1).ok_or("no counter")?;
    Ok(packets.parse()?)
}

/// Runs a command in this namespace, with this on its standard input.
fn said(command: &str, arguments: &[&str], input: &str) -> Result<(), Failure> {
    let mut child = Command::new(command)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            format!("{command} does not start ({error}): apt-get install nftables iproute2")
        })?;
    let stdin = child.stdin.take();
    stdin
        .ok_or("no standard input")?
        .write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command} {}: {error}", arguments.join(" ")).into())
}

//! A network namespace of this benchmark's own, with a cable to a gateway's port: frames go in and out of the far end.
//!
//! Needs root and iproute2. The namespace ends with the processes in it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use crate::stores::Failure;

/// Moves the calling thread, and every process that it starts from now on, into a new network namespace.
pub(crate) fn enter_new_namespace() -> Result<(), Failure> {
    // SAFETY: the call takes no pointers; it moves this thread alone.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(format!("no network namespace of our own ({error}): run this as root").into())
}

/// Runs `ip` in this thread's namespace.
pub(crate) fn ip(arguments: &str) -> Result<(), Failure> {
    let output = Command::new("ip").args(arguments.split(' ')).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {arguments}: {said}").into())
}

/// The far end of a cable: what is sent here comes in at the gateway's end.
pub(crate) struct FarEnd(OwnedFd);

impl FarEnd {
    /// A veth pair in this thread's namespace: `near` is for the gateway.
    pub(crate) fn of(near: &str) -> Result<FarEnd, Failure> {
        let far = format!("{near}-far");
        ip(&format!("link add {near} type veth peer name {far}"))?;
        // Nobody speaks on the cable but the benchmark.
        for end in [near, &far] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1")?;
            ip(&format!("link set {end} up"))?;
        }
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: the call takes no pointers.
        let socket = unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                i32::from(protocol),
            )
        };
        if socket < 0 {
            return Err(io::Error::last_os_error().into());
        }
        // SAFETY: the descriptor was just made, and nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let name = std::ffi::CString::new(far)?;
        // SAFETY: all zeros is a valid address; the name is a C string that outlives the call.
        let (mut address, index) = unsafe {
            (
                std::mem::zeroed::<libc::sockaddr_ll>(),
                libc::if_nametoindex(name.as_ptr()),
            )
        };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = i32::try_from(index)?;
        // SAFETY: the address is of the family and the length that are said.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if bound == 0 {
            Ok(FarEnd(socket))
        } else {
            Err(io::Error::last_os_error().into())
        }
    }

    /// Sends a frame.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<(), Failure> {
        // SAFETY: the pointer and the length are those of the frame.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error().into());
        }
        Ok(())
    }

    /// The next frame, if one comes within this time.
    pub(crate) fn receive(&self, patience: Duration) -> Option<Vec<u8>> {
        let mut wanted = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let patience = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one entry, which outlives the call.
        if unsafe { libc::poll(&raw mut wanted, 1, patience) } < 1 {
            return None;
        }
        let mut frame = vec![0; 2048];
        // SAFETY: the pointer and the length are those of the buffer.
        let length = unsafe {
            libc::recv(
                self.0.as_raw_fd(),
                frame.as_mut_ptr().cast(),
                frame.len(),
                0,
            )
        };
        frame.truncate(usize::try_from(length).ok()?);
        Some(frame)
    }
}

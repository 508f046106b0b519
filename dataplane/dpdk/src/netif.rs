//! What is asked of the kernel about a network interface, in the calling thread's network
//! namespace.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::{io, mem};

/// The interface's MTU. `ErrorKind::NotFound` if there is no such interface.
pub(crate) fn mtu(interface: &str) -> io::Result<u32> {
    let request = ioctl(interface, libc::SIOCGIFMTU, |_| ())?;
    // SAFETY: the kernel filled in this field.
    Ok(unsafe { request.ifr_ifru.ifru_mtu }.max(0) as u32)
}

/// Changes the interface's MTU.
pub(crate) fn set_mtu(interface: &str, mtu: u16) -> io::Result<()> {
    ioctl(interface, libc::SIOCSIFMTU, |request| {
        request.ifr_ifru.ifru_mtu = i32::from(mtu)
    })?;
    Ok(())
}

/// Whether the interface is up and has a carrier.
pub(crate) fn is_running(interface: &str) -> io::Result<bool> {
    let request = ioctl(interface, libc::SIOCGIFFLAGS, |_| ())?;
    // SAFETY: the kernel filled in this field.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    Ok(flags & libc::IFF_UP != 0 && flags & libc::IFF_RUNNING != 0)
}

/// Whether this thread may open a packet socket: needs CAP_NET_RAW.
pub(crate) fn may_open_packet_socket() -> io::Result<()> {
    socket(libc::AF_PACKET, libc::SOCK_RAW).map(drop)
}

/// Keeps the interface promiscuous for as long as the socket is open.
pub(crate) fn hold_promiscuous(interface: &str) -> io::Result<OwnedFd> {
    let name = CString::new(interface)?;
    // SAFETY: a valid string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    // Of protocol 0: it receives nothing.
    let socket = socket(libc::AF_PACKET, libc::SOCK_RAW)?;
    // SAFETY: a plain C struct, for which all zeroes is a value.
    let mut membership: libc::packet_mreq = unsafe { mem::zeroed() };
    membership.mr_ifindex = index as i32;
    membership.mr_type = libc::PACKET_MR_PROMISC as u16;
    // SAFETY: an open socket, and the struct that the option takes, with its size.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const membership).cast(),
            mem::size_of_val(&membership) as libc::socklen_t,
        )
    };
    if code == 0 {
        Ok(socket)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn ioctl(
    interface: &str,
    operation: libc::Ioctl,
    fill: impl FnOnce(&mut libc::ifreq),
) -> io::Result<libc::ifreq> {
    let name = CString::new(interface)?;
    let name = name.as_bytes_with_nul();
    // SAFETY: a plain C struct, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() > request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (target, byte) in request.ifr_name.iter_mut().zip(name) {
        *target = *byte as libc::c_char;
    }
    fill(&mut request);
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    // SAFETY: an open socket, and the struct that these operations read and write.
    match unsafe { libc::ioctl(socket.as_raw_fd(), operation, &mut request) } {
        0 => Ok(request),
        _ => Err(io::Error::last_os_error()),
    }
}

fn socket(family: i32, kind: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    match unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: just opened, and nobody else's.
        socket => Ok(unsafe { OwnedFd::from_raw_fd(socket) }),
    }
}

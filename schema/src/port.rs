//! Where an interface's frames come from and go to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::value::{Kind, text_column};

/// A port, written `DRIVER:ARGUMENT`. The virtual dataplane puts a port of its own in place of each of these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// `af_packet:eth0`: a kernel interface through an AF_PACKET socket.
    AfPacket {
        /// The kernel's name of the interface.
        interface: String,
    },
    /// `tap:tap0`: a TAP interface that the gateway makes.
    Tap {
        /// The name that the interface gets.
        interface: String,
    },
    /// `null:NAME`: receives nothing, and what is sent is gone.
    Null {
        /// Tells several such ports apart.
        name: String,
    },
    /// `ring:NAME`: what is sent comes back as received.
    Ring {
        /// Tells several such ports apart.
        name: String,
    },
    /// `pcap:receive=IN.pcap,transmit=OUT.pcap`: frames from one capture file, into another.
    Pcap {
        /// The capture that frames are read from.
        receive: PathBuf,
        /// The capture that frames are written to.
        transmit: PathBuf,
    },
    /// `memif:socket=/run/x.sock,id=0,role=server`: shared memory with another process.
    Memif {
        /// The control socket.
        socket: PathBuf,
        /// The interface's number on that socket.
        id: u32,
        /// Whether this side listens on the socket (`role=server`) or connects to it (`role=client`).
        server: bool,
    },
}

/// The longest name that a Linux network interface can have, in bytes (IFNAMSIZ less the final zero).
const LONGEST_INTERFACE_NAME: usize = 15;

/// Why a text is not a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// No driver of this name is known.
    #[error(
        "expected a port like af_packet:eth0, tap:tap0, null:NAME, ring:NAME, pcap:receive=FILE,transmit=FILE \
         or memif:socket=FILE,id=N,role=server, found \"{0}\""
    )]
    Driver(String),
    /// The argument is not what the driver takes.
    #[error("expected {expected}, found \"{found}\"")]
    Argument {
        /// What the driver takes.
        expected: &'static str,
        /// What was there.
        found: String,
    },
}

/// Reads `a=1,b=2` for exactly the keys asked for.
fn options<'a, const N: usize>(text: &'a str, keys: [&str; N]) -> Option<[&'a str; N]> {
    let mut values = [""; N];
    for part in text.split(',') {
        let (key, value) = part.split_once('=')?;
        let index = keys.iter().position(|k| *k == key)?;
        if value.is_empty() || !values[index].is_empty() {
            return None;
        }
        values[index] = value;
    }
    values.iter().all(|v| !v.is_empty()).then_some(values)
}

impl FromStr for Port {
    type Err = PortError;
    fn from_str(text: &str) -> Result<Self, PortError> {
        let Some((driver, argument)) = text.split_once(':') else {
            return Err(PortError::Driver(text.chars().take(80).collect()));
        };
        if text.chars().any(char::is_control) {
            return Err(PortError::Argument {
                expected: "a port without control characters",
                found: text.chars().take(80).collect(),
            });
        }
        let wrong = |expected| PortError::Argument {
            expected,
            found: argument.chars().take(80).collect(),
        };
        let word = |longest: usize, expected| {
            let good = (1..=longest).contains(&argument.len())
                && argument
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
                && argument != "."
                && argument != "..";
            if good {
                Ok(argument.to_owned())
            } else {
                Err(wrong(expected))
            }
        };
        let interface = "the name of a network interface, 1 to 15 letters, digits, '.', '_' or '-'";
        let name = "a name of 1 to 31 letters, digits, '.', '_' or '-'";
        match driver {
            "af_packet" => Ok(Port::AfPacket {
                interface: word(LONGEST_INTERFACE_NAME, interface)?,
            }),
            "tap" => Ok(Port::Tap {
                interface: word(LONGEST_INTERFACE_NAME, interface)?,
            }),
            "null" => Ok(Port::Null {
                name: word(31, name)?,
            }),
            "ring" => Ok(Port::Ring {
                name: word(31, name)?,
            }),
            "pcap" => {
                let [receive, transmit] = options(argument, ["receive", "transmit"])
                    .ok_or_else(|| wrong("receive=FILE,transmit=FILE"))?;
                Ok(Port::Pcap {
                    receive: receive.into(),
                    transmit: transmit.into(),
                })
            }
            "memif" => {
                const EXPECTED: &str = "socket=FILE,id=N,role=server or role=client";
                let [socket, id, role] =
                    options(argument, ["socket", "id", "role"]).ok_or_else(|| wrong(EXPECTED))?;
                let id = id.parse().map_err(|_| wrong(EXPECTED))?;
                let server = match role {
                    "server" => true,
                    "client" => false,
                    _ => return Err(wrong(EXPECTED)),
                };
                Ok(Port::Memif {
                    socket: socket.into(),
                    id,
                    server,
                })
            }
            _ => Err(PortError::Driver(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::AfPacket { interface } => write!(f, "af_packet:{interface}"),
            Port::Tap { interface } => write!(f, "tap:{interface}"),
            Port::Null { name } => write!(f, "null:{name}"),
            Port::Ring { name } => write!(f, "ring:{name}"),
            Port::Pcap { receive, transmit } => {
                write!(
                    f,
                    "pcap:receive={},transmit={}",
                    receive.display(),
                    transmit.display()
                )
            }
            Port::Memif { socket, id, server } => {
                let role = if *server { "server" } else { "client" };
                write!(f, "memif:socket={},id={id},role={role}", socket.display())
            }
        }
    }
}

text_column!(Port, Kind::Text(&crate::format::PORT));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back_as_written() {
        for text in [
            "af_packet:eth0",
            "tap:tap0",
            "null:a",
            "ring:left",
            "pcap:receive=in.pcap,transmit=/tmp/out.pcap",
            "memif:socket=/run/m.sock,id=3,role=client",
        ] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_port_says_what_would_be() {
        for text in [
            "",
            "eth0",
            "af_packet:",
            "af_packet:a-name-of-16-chr",
            "pcap:receive=a",
            "null:../x",
            "pcap:receive=a,receive=b,transmit=c",
            "memif:socket=a,id=x,role=server",
            "xdp:eth0",
        ] {
            let error = text.parse::<Port>().unwrap_err().to_string();
            assert!(error.starts_with("expected "), "{text}: {error}");
        }
    }
}

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::namespace::Namespace;
use crate::wait::PATIENCE;

/// Two ends of one TCP connection, as seen by their own hosts.
#[derive(Debug)]
pub struct Exchange {
    /// The end of who connected.
    pub client: TcpStream,
    /// The end of who listened.
    pub server: TcpStream,
}

/// Connects from one host to `address`, which is to lead to `listen` of another.
pub fn tcp_pair(
    client: &Namespace,
    address: &str,
    server: &Namespace,
    listen: &str,
) -> io::Result<Exchange> {
    tcp_pair_within(PATIENCE, client, address, server, listen)
}

/// As [`tcp_pair`], where the connection has to be there within a time: what is dropped in silence is waited for as long.
///
/// # Errors
/// As there.
pub fn tcp_pair_within(
    time: Duration,
    client: &Namespace,
    address: &str,
    server: &Namespace,
    listen: &str,
) -> io::Result<Exchange> {
    let address: SocketAddr = address.parse().expect("an address and a port");
    let listener = server.run(|| TcpListener::bind(listen))?;
    let client = client.run(|| TcpStream::connect_timeout(&address, time))?;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_read_timeout(Some(PATIENCE))?;
        end.set_write_timeout(Some(PATIENCE))?;
        end.set_nodelay(true)?;
    }
    Ok(Exchange { client, server })
}

impl Exchange {
    /// Sends as many bytes each way, at once, and checks that they come whole.
    #[track_caller]
    pub fn talk(&mut self, length: usize) {
        let there: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let back: Vec<u8> = there.iter().rev().copied().collect();
        let (mut client, mut server) = (&self.client, &self.server);
        let (got_there, got_back) = std::thread::scope(|scope| {
            let writers = [
                scope.spawn(|| { &self.client }.write_all(&there)),
                scope.spawn(|| { &self.server }.write_all(&back)),
            ];
            let reader = scope.spawn(move || read(&mut server, length));
            let got_back = read(&mut client, length);
            for writer in writers {
                writer
                    .join()
                    .expect("no panic")
                    .expect("the connection takes what is written");
            }
            (reader.join().expect("no panic"), got_back)
        });
        let got_there = got_there.expect("the server reads what the client wrote");
        let got_back = got_back.expect("the client reads what the server wrote");
        assert!(
            got_there == there && got_back == back,
            "the bytes are not those that were sent"
        );
    }
}

fn read(from: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Sends a datagram of so many bytes from one host to another, and as many back; checks that they come whole.
#[track_caller]
pub fn udp_echo(client: &Namespace, from: &str, server: &Namespace, to: &str, length: usize) {
    udp_echoes(client, from, server, to, length, 1);
}

/// The same again and again, one after the other. The sockets of both ends stay open as long as what is returned.
#[track_caller]
pub fn udp_echoes(
    client: &Namespace,
    from: &str,
    server: &Namespace,
    to: &str,
    length: usize,
    times: usize,
) -> [UdpSocket; 2] {
    let bind = |host: &Namespace, address: &str| {
        let socket = host.run(|| UdpSocket::bind(address)).expect("a free port");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        socket
    };
    let (client, server) = (bind(client, from), bind(server, to));
    let question: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
    let answer: Vec<u8> = question.iter().rev().copied().collect();
    let mut buffer = vec![0; length + 1];
    for _ in 0..times {
        client.send_to(&question, to).expect("a route");
        let (read, peer) = server.recv_from(&mut buffer).expect("the question comes");
        assert!(
            buffer[..read] == question,
            "the question is not what was sent"
        );
        server.send_to(&answer, peer).expect("a route");
        let (read, peer) = client.recv_from(&mut buffer).expect("the answer comes");
        assert!(buffer[..read] == answer, "the answer is not what was sent");
        assert_eq!(peer.to_string(), to);
    }
    [client, server]
}

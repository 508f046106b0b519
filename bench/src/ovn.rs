//! A real OVN control plane beside this program: two `ovsdb-server`s and `ovn-northd`, which compiles the northbound database
//! into the southbound one. No switch and no controller: what is measured is from one database to the other.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::stores::Failure;

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Result<Running, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.map(Running).map_err(|error| {
        format!("{name} cannot be started ({error}): apt-get install --no-install-recommends ovn-central openvswitch-switch").into()
    })
}

/// A connection to one database: JSON objects both ways (RFC 7047).
struct Connection {
    database: &'static str,
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Connection {
    fn open(database: &'static str, socket: &Path) -> Result<Connection, Failure> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        stream.set_read_timeout(Some(Duration::from_secs(300)))?;
        let reader = BufReader::with_capacity(1 << 20, stream.try_clone()?);
        Ok(Connection {
            database,
            stream,
            reader,
        })
    }

    /// The next object: it ends where its braces do, those in strings aside.
    fn receive(&mut self) -> Result<String, Failure> {
        let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
        let mut object = Vec::new();
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                return Err(format!("{}: the server went away", self.database).into());
            }
            let mut end = None;
            for (at, byte) in chunk.iter().enumerate() {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if in_string => escaped = true,
                    b'"' => in_string = !in_string,
                    b'{' if !in_string => depth += 1,
                    b'}' if !in_string => depth -= 1,
                    _ => {}
                }
                if depth == 0 && *byte == b'}' && !in_string {
                    end = Some(at + 1);
                    break;
                }
            }
            let taken = end.unwrap_or(chunk.len());
            object.extend_from_slice(&chunk[..taken]);
            self.reader.consume(taken);
            if end.is_some() {
                let object = String::from_utf8(object)?;
                if object.contains(r#""method":"echo""#) {
                    // "Are you there?"
                    self.stream
                        .write_all(br#"{"id":"echo","result":[],"error":null}"#)?;
                    return self.receive();
                }
                return Ok(object);
            }
        }
    }

    /// Sends a request; the answer.
    fn call(&mut self, method: &str, parameters: &str) -> Result<String, Failure> {
        let request = format!(r#"{{"id":1,"method":"{method}","params":{parameters}}}"#);
        let sent = self.stream.write_all(request.as_bytes());
        sent.map_err(|error| format!("{}: {error}", self.database))?;
        let answer = self.receive()?;
        if answer.contains(r#""error":null"#) && !answer.contains(r#""error":""#) {
            return Ok(answer);
        }
        let end = answer.len().min(500);
        Err(format!("{}: {}", self.database, &answer[..end]).into())
    }

    fn transact(&mut self, operations: &str) -> Result<String, Failure> {
        let parameters = format!(r#"["{}",{operations}]"#, self.database);
        self.call("transact", &parameters)
    }
}

/// OVN with a topology in it.
pub(crate) struct Ovn {
    /// The northbound database's socket. Each route comes by a connection of its own: the server closes one that does not
    /// answer its probes while northd is waited for.
    north: PathBuf,
    south: Connection,
    /// Ended in this order.
    _northd: Running,
    _servers: [Running; 2],
}

fn server(folder: &Path, name: &str, schema: &str) -> Result<Running, Failure> {
    let database = folder.join(format!("{name}.db"));
    let schema = Path::new("/usr/share/ovn").join(schema);
    let made = Command::new("ovsdb-tool")
        .arg("create")
        .args([&database, &schema])
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return Err(format!(
            "ovsdb-tool made no database of {}: apt-get install --no-install-recommends ovn-central openvswitch-switch",
            schema.display()
        )
        .into());
    }
    start(
        Command::new("ovsdb-server")
            .arg(&database)
            .arg(format!(
                "--remote=punix:{}",
                folder.join(format!("{name}.sock")).display()
            ))
            .arg("--no-chdir")
            .arg(format!(
                "--unixctl={}",
                folder.join(format!("{name}.ctl")).display()
            )),
    )
}

/// One router, with a switch for each hundred ports and all of the routes, each to a port of the first switch.
fn topology(switches: u32, ports: u32, routes: impl Iterator<Item = String>) -> String {
    let mut operations = String::new();
    let (mut of_router, mut of_switches) = (Vec::new(), String::new());
    for switch in 0..switches {
        let mut names = vec![format!(r#"["named-uuid","up{switch}"]"#)];
        let (high, low) = (switch / 256, switch % 256);
        write!(
            operations,
            r#"{{"op":"insert","table":"Logical_Router_Port","uuid-name":"rp{switch}","row":{{"name":"rp{switch}","mac":"02:00:00:01:{high:02x}:{low:02x}","networks":"10.{high}.{low}.1/24"}}}},
            {{"op":"insert","table":"Logical_Switch_Port","uuid-name":"up{switch}","row":{{"name":"up{switch}","type":"router","addresses":"router","options":["map",[["router-port","rp{switch}"]]]}}}},"#
        )
        .expect("writing to a String does not fail");
        of_router.push(format!(r#"["named-uuid","rp{switch}"]"#));
        for port in 0..ports / switches {
            let host = port + 2;
            write!(
                operations,
                r#"{{"op":"insert","table":"Logical_Switch_Port","uuid-name":"p{switch}_{port}","row":{{"name":"p{switch}_{port}","addresses":"02:00:01:{high:02x}:{low:02x}:{host:02x} 10.{high}.{low}.{host}"}}}},"#
            )
            .expect("writing to a String does not fail");
            names.push(format!(r#"["named-uuid","p{switch}_{port}"]"#));
        }
        write!(
            of_switches,
            r#"{{"op":"insert","table":"Logical_Switch","row":{{"name":"s{switch}","ports":["set",[{}]]}}}},"#,
            names.join(",")
        )
        .expect("writing to a String does not fail");
    }
    let mut all = Vec::new();
    for (number, prefix) in routes.enumerate() {
        write!(
            operations,
            r#"{{"op":"insert","table":"Logical_Router_Static_Route","uuid-name":"r{number}","row":{{"ip_prefix":"{prefix}","nexthop":"10.0.0.2"}}}},"#
        )
        .expect("writing to a String does not fail");
        all.push(format!(r#"["named-uuid","r{number}"]"#));
    }
    format!(
        r#"{operations}{of_switches}{{"op":"insert","table":"Logical_Router","row":{{"name":"blue","ports":["set",[{}]],"static_routes":["set",[{}]]}}}}"#,
        of_router.join(","),
        all.join(",")
    )
}

impl Ovn {
    /// Starts it with so many ports, a hundred to a switch, and these routes; returns when the southbound database has them.
    pub(crate) fn start(
        folder: &Path,
        ports: u32,
        routes: impl Iterator<Item = String>,
    ) -> Result<Ovn, Failure> {
        let servers = [
            server(folder, "nb", "ovn-nb.ovsschema")?,
            server(folder, "sb", "ovn-sb.ovsschema")?,
        ];
        let [nb, sb] = ["nb.sock", "sb.sock"].map(|name| folder.join(name));
        Connection::open("OVN_Northbound", &nb)?.transact(&topology(ports / 100, ports, routes))?;
        let mut south = Connection::open("OVN_Southbound", &sb)?;
        let northd = start(
            Command::new("ovn-northd")
                .arg(format!("--ovnnb-db=unix:{}", nb.display()))
                .arg(format!("--ovnsb-db=unix:{}", sb.display()))
                .arg("--no-chdir")
                .arg(format!("--unixctl={}", folder.join("northd.ctl").display())),
        )?;
        south.call(
            "monitor",
            r#"["OVN_Southbound",null,{"Logical_Flow":{"columns":["match"],"select":{"initial":false,"insert":true,"delete":false,"modify":false}}}]"#,
        )?;
        Ok(Ovn {
            north: nb,
            south,
            _northd: northd,
            _servers: servers,
        })
    }

    /// Adds a route to the northbound database, and waits until its flow is in the southbound one.
    pub(crate) fn route(&mut self, prefix: &str) -> Result<Duration, Failure> {
        let mut north = Connection::open("OVN_Northbound", &self.north)?;
        let start = Instant::now();
        north.transact(&format!(
            r#"{{"op":"insert","table":"Logical_Router_Static_Route","uuid-name":"r","row":{{"ip_prefix":"{prefix}","nexthop":"10.0.0.2"}}}},
            {{"op":"mutate","table":"Logical_Router","where":[["name","==","blue"]],"mutations":[["static_routes","insert",["named-uuid","r"]]]}}"#
        ))?;
        let network = format!("ip4.dst == {prefix}");
        while !self.south.receive()?.contains(&network) {}
        Ok(start.elapsed())
    }
}

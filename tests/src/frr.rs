use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::process::Running;
use crate::wait::until;

/// Where Debian's package puts the daemons.
const DAEMONS: &str = "/usr/lib/frr";

/// FRRouting in a namespace: zebra and bgpd, apart from any other instance. It ends with this value.
#[derive(Debug)]
pub struct Frr<'a> {
    namespace: &'a Namespace,
    /// Whether zebra tells a gateway its routes.
    feeds: bool,
    directory: TempDir,
    zebra: Option<Running>,
    bgpd: Option<Running>,
}

impl<'a> Frr<'a> {
    /// Whether it is installed; if not, the reader hears why the test is skipped.
    pub fn is_installed() -> bool {
        let is_there = Path::new(DAEMONS).join("bgpd").exists();
        if !is_there {
            println!(
                "skipped: FRRouting is not installed ({DAEMONS}/bgpd is not there): make deps"
            );
        }
        is_there
    }

    /// Starts both daemons with their configurations, line by line. A zebra that has any loads the module that talks to gateways.
    pub fn start(namespace: &'a Namespace, zebra: Vec<&str>, bgpd: Vec<&str>) -> Self {
        let directory = tempfile::tempdir().expect("a folder for temporary files");
        // The daemons run as a user of their own.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).expect("it is ours");
        let feeds = !zebra.is_empty();
        for (name, lines) in [("zebra", zebra), ("bgpd", bgpd)] {
            let path = directory.path().join(name).with_extension("conf");
            fs::write(&path, lines.join("\n") + "\n").expect("the folder is ours");
        }
        let mut frr = Frr {
            namespace,
            feeds,
            directory,
            zebra: None,
            bgpd: None,
        };
        frr.start_again();
        frr
    }

    /// Starts the daemons again after [`kill`](Self::kill).
    pub fn start_again(&mut self) {
        let module: &[&str] = if self.feeds {
            &["-M", "dplane_fpm_nl"]
        } else {
            &[]
        };
        self.zebra = Some(self.daemon("zebra", module));
        until("zebra listens", || {
            let running = self.zebra.as_mut().is_some_and(Running::is_running);
            assert!(running, "zebra has ended: {:?}", self.zebra);
            self.path("zserv").exists().then_some(())
        });
        self.bgpd = Some(self.daemon("bgpd", &[]));
    }

    /// Kills both at once, as a crash would.
    pub fn kill(&mut self) {
        for daemon in [self.zebra.take(), self.bgpd.take()] {
            let mut daemon = daemon.expect("it runs");
            daemon.signal(Signal::KILL);
            daemon.finish();
        }
        for left in ["zserv", "zebra.vty", "bgpd.vty"] {
            // What a crash leaves behind is in nobody's way but ours, who wait for it to come.
            let _ = fs::remove_file(self.path(left));
        }
    }

    /// Tells bgpd commands, as an administrator would type them.
    pub fn configure(&self, commands: &[&str]) {
        let mut vtysh = Command::new("vtysh");
        vtysh.arg("--vty_socket").arg(self.directory.path());
        vtysh.args(["-d", "bgpd", "-c", "configure terminal"]);
        for command in commands {
            vtysh.args(["-c", command]);
        }
        let output = vtysh.output().expect("vtysh is there");
        assert!(output.status.success(), "vtysh: {output:?}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn daemon(&self, name: &str, more: &[&str]) -> Running {
        let mut command = Command::new(Path::new(DAEMONS).join(name));
        // -P 0: no telnet.
        command.args(["-P", "0", "--log", "stdout"]).args(more);
        command.arg("--vty_socket").arg(self.directory.path());
        command
            .arg("-f")
            .arg(self.path(name).with_extension("conf"));
        command.arg("-i").arg(self.path(name).with_extension("pid"));
        command.arg("-z").arg(self.path("zserv"));
        self.namespace.start(command)
    }
}

//! Processes, told apart beyond their numbers: what an exclusive lock dies with.

use std::path::Path;
use std::{fs, io};

/// A process: its number, when it was started, and which start of the machine that was. No two processes are equal, even
/// when the number is given out again.
///
/// Processes are seen through `/proc`: one in another PID namespace, such as a container's, looks as if it had ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The process's number.
    pub pid: u32,
    /// When it was started, in clock ticks since the machine was: field 22 of `/proc/PID/stat`, see proc(5).
    pub started: u64,
    /// The machine's start: `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
}

/// What `/proc/PID/stat` says.
struct Stat {
    state: char,
    parent: u32,
    started: u64,
}

impl Session {
    /// The process with this number.
    ///
    /// # Errors
    ///
    /// Where there is no such process, or `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Session> {
        Ok(Session {
            pid,
            started: stat(pid)?.started,
            boot: boot()?,
        })
    }

    /// This process.
    ///
    /// # Errors
    ///
    /// Where `/proc` cannot be read.
    pub fn current() -> io::Result<Session> {
        Session::of(std::process::id())
    }

    /// This process, its parent, and so on up to the first of all: those for whom this one acts. A lock that a shell
    /// holds is held by the commands that it starts.
    ///
    /// # Errors
    ///
    /// Where `/proc` cannot be read.
    pub fn ancestry() -> io::Result<Vec<Session>> {
        let boot = boot()?;
        let mut sessions = Vec::new();
        let mut pid = std::process::id();
        while pid != 0 {
            // A parent may end meanwhile; there is no way up beyond it.
            let Ok(stat) = stat(pid) else { break };
            sessions.push(Session {
                pid,
                started: stat.started,
                boot: boot.clone(),
            });
            pid = stat.parent;
        }
        Ok(sessions)
    }

    /// Whether the process is still there. One that has ended and is not waited for yet is not.
    pub fn is_alive(&self) -> bool {
        boot().is_ok_and(|boot| boot == self.boot)
            && stat(self.pid)
                .is_ok_and(|stat| stat.started == self.started && !matches!(stat.state, 'Z' | 'X'))
    }
}

fn boot() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    parse(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not as proc(5) says")))
}

/// `pid (name) state parent … started`: the name may hold anything, parentheses and spaces too.
fn parse(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    // The field after the name is the third.
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(22 - 3)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_alive_until_it_ends() {
        let current = Session::current().unwrap();
        assert!(current.is_alive());
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let session = Session::of(child.id()).unwrap();
        assert!(session.is_alive());
        let reused = Session {
            started: session.started + 1,
            ..session.clone()
        };
        assert!(!reused.is_alive());
        let of_another_start = Session {
            boot: "another".into(),
            ..session.clone()
        };
        assert!(!of_another_start.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!session.is_alive());
    }

    #[test]
    fn who_was_not_waited_for_has_ended_all_the_same() {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "read line"])
            .stdin(std::process::Stdio::piped());
        let mut child = shell.spawn().unwrap();
        let session = Session::of(child.id()).unwrap();
        assert!(session.is_alive());
        drop(child.stdin.take());
        // waitid(WNOWAIT) would do, but there is no safe name for it: the state is looked at instead.
        while session.is_alive() {
            std::thread::yield_now();
        }
        assert_eq!(stat(child.id()).unwrap().state, 'Z');
        child.wait().unwrap();
    }

    #[test]
    fn the_ancestry_begins_here_and_ends_at_the_top() {
        let ancestry = Session::ancestry().unwrap();
        assert_eq!(ancestry[0], Session::current().unwrap());
        assert!(ancestry.iter().all(Session::is_alive));
        let parent = std::os::unix::process::parent_id();
        assert!(parent == 0 || ancestry[1].pid == parent);
    }

    #[test]
    fn names_may_hold_anything() {
        let tail = (3..=52).map(|n| if n == 3 { "S".into() } else { n.to_string() });
        let text = format!("7 (a) b ( c) {}", tail.collect::<Vec<String>>().join(" "));
        let stat = parse(&text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.started), ('S', 4, 22));
        for bad in ["", "7", "7 (x", "7 (x) S", "7 (x) S one two"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}

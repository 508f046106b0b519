use std::time::{Duration, Instant};

/// How long a test waits for anything before it fails: long, because a busy machine is no defect.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks every 10 ms until there is an answer, and panics with `what` when there is none in time.
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_for(PATIENCE, what, ask)
}

/// The same with another patience: for those who take their own time.
pub fn until_for<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

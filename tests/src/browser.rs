use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::namespace::Namespace;

/// How long the browser may take for anything: it is large, and a busy machine is no defect.
const PATIENCE: Duration = Duration::from_secs(60);

/// A headless Chromium in a namespace, with one page. It is driven by its own protocol over two pipes (the Chrome DevTools
/// Protocol with `--remote-debugging-pipe`): no driver, no port. It ends with this value.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    requests: ChildStdin,
    messages: Receiver<Value>,
    last: u64,
    page: String,
    /// What the page has complained of: exceptions, errors on the console, refused by its policy.
    problems: Vec<String>,
    /// The addresses that the page has asked for.
    asked: Vec<String>,
    /// The events that nobody has waited for yet.
    events: Vec<String>,
    // Last: it holds the profile that the browser writes.
    #[allow(dead_code, reason = "removed by being dropped")]
    profile: TempDir,
}

impl Browser {
    /// Starts one. None, with a word to the reader, where there is no Chromium.
    pub fn new(namespace: &Namespace) -> Option<Browser> {
        let places = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&places).any(|place| place.join("chromium").exists()) {
            println!("skipped: there is no chromium");
            return None;
        }
        let profile = tempfile::tempdir().expect("a folder for temporary files");
        let mut command = Command::new("sh");
        // The browser speaks its protocol on descriptors 3 and 4.
        let script = "exec chromium --headless=new --no-sandbox --remote-debugging-pipe --disable-gpu --no-first-run \
                      --hide-scrollbars --user-data-dir=\"$0\" about:blank 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null";
        command.args(["-c", script]).arg(profile.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = namespace
            .run(move || command.spawn())
            .expect("a shell can be started");
        let requests = child.stdin.take().expect("it is a pipe");
        let answers = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else {
                    return;
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser {
            child,
            requests,
            messages,
            last: 0,
            page: String::new(),
            problems: Vec::new(),
            asked: Vec::new(),
            events: Vec::new(),
            profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.page = attached["sessionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Sends a command and waits for what it came to.
    #[track_caller]
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let number = self.last;
        let mut request = json!({ "id": number, "method": method, "params": parameters });
        if !self.page.is_empty() {
            request["sessionId"] = json!(self.page);
        }
        let sent = self.requests.write_all(format!("{request}\0").as_bytes());
        sent.unwrap_or_else(|error| panic!("{method}: {error}"));
        let mut answer = self.receive(method, |message| message["id"] == number);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Takes messages in until one is meant.
    #[track_caller]
    fn receive(&mut self, what: &str, is_meant: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left);
            let message = message.unwrap_or_else(|_| {
                panic!(
                    "waited in vain: {what}; problems so far: {:?}",
                    self.problems
                )
            });
            self.note(&message);
            if is_meant(&message) {
                return message;
            }
        }
    }

    /// Keeps what an event says.
    fn note(&mut self, message: &Value) {
        let (Some(method), said) = (message["method"].as_str(), &message["params"]) else {
            return;
        };
        self.events.push(method.to_owned());
        match method {
            "Network.requestWillBeSent" => {
                let address = said["request"]["url"].as_str().unwrap_or_default();
                self.asked.push(address.to_owned());
            }
            "Runtime.exceptionThrown" => self.problems.push(said["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if said["type"] == "error" => {
                self.problems.push(said["args"].to_string());
            }
            "Log.entryAdded" if said["entry"]["level"] == "error" => {
                self.problems.push(said["entry"].to_string());
            }
            _ => {}
        }
    }

    /// Goes to an address, and waits until its page has loaded.
    #[track_caller]
    pub fn go(&mut self, address: &str) {
        self.events.clear();
        let gone = self.call("Page.navigate", json!({ "url": address }));
        assert!(gone.get("errorText").is_none(), "{address}: {gone}");
        // Another place on the same page is no load.
        if gone.get("loaderId").is_none() {
            return;
        }
        if !self
            .events
            .iter()
            .any(|event| event == "Page.loadEventFired")
        {
            self.receive(address, |message| {
                message["method"] == "Page.loadEventFired"
            });
        }
    }

    /// The value of an expression of JavaScript in the page; of a promise, what it comes to.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", parameters);
        let exception = &answer["exceptionDetails"];
        assert!(exception.is_null(), "{expression}: {exception}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true for the page as it is shown: it is asked after each change of the page.
    #[track_caller]
    pub fn until(&mut self, expression: &str) -> Value {
        self.evaluate(&format!(
            "new Promise((done) => {{
                const look = () => {{
                    const value = {expression};
                    if (value) {{ observer.disconnect(); done(value); }}
                    return value;
                }};
                const observer = new MutationObserver(look);
                observer.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
                look();
            }})"
        ))
    }

    /// Clicks the element that a selector finds.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let found = self.evaluate(&format!(
            "(() => {{ const found = document.querySelector({selector:?}); found?.click(); return found !== null; }})()"
        ));
        assert_eq!(found, true, "there is no {selector}");
    }

    /// Shows the page at a width, in a colour scheme: `light` or `dark`.
    #[track_caller]
    pub fn appear(&mut self, width: u32, height: u32, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// A picture of the whole page, for people to look at, where the environment names a folder for them.
    #[track_caller]
    pub fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("REWIRE_PICTURES") else {
            return;
        };
        // Only what lies in the page can be taken, however long it is.
        let picture = self.call(
            "Page.captureScreenshot",
            json!({ "captureBeyondViewport": true }),
        );
        let picture = picture["data"].as_str().unwrap_or_default();
        fs::write(
            Path::new(&folder).join(format!("{name}.png")),
            base64(picture),
        )
        .expect("the folder can be written to");
    }

    /// What the page has complained of since this was asked last.
    pub fn problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }

    /// The addresses that the page has asked for since this was asked last.
    pub fn asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.asked)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own processes, and in order: what is killed leaves some of them behind.
        let _ = self
            .requests
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes that a text in Base64 stands for (RFC 4648, section 4). What is none of its letters is passed over.
fn base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_read() {
        assert_eq!(base64("Zm9vYmFy"), b"foobar");
        assert_eq!(base64("Zm9vYg=="), b"foob");
        assert_eq!(base64("+/8="), [0xfb, 0xff]);
        assert_eq!(base64(""), b"");
    }
}

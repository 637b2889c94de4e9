//! A headless Chromium, told what to do over its DevTools protocol: JSON on two pipes, each message ended by a zero byte.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use crossbeam_channel::Receiver;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::PATIENCE;

/// A browser with one page.
pub struct Browser {
    child: Child,
    orders: ChildStdin,
    said: Receiver<Value>,
    session: Value,
    last: u64,
    errors: Vec<String>,
    _profile: TempDir,
}

/// Chromium reads orders from descriptor 3 and writes to 4. It shows only our own pages, so it does without its sandbox, which root and most
/// containers cannot have.
const START: &str = "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
    --remote-debugging-pipe --user-data-dir=\"$0\" about:blank 3<&0 4>&1 >/dev/null 2>&1";

impl Browser {
    /// Starts one.
    pub fn start() -> Self {
        let installed = Command::new("chromium").arg("--version").output();
        assert!(
            installed.is_ok_and(|output| output.status.success()),
            "the test needs Chromium: on Debian, apt-get install chromium"
        );
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut child = Command::new("sh")
            .args(["-c", START])
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let (tell, said) = crossbeam_channel::unbounded();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("it speaks JSON");
                // The test may have seen enough.
                tell.send(message).ok();
            }
        });
        let mut browser = Self {
            orders: child.stdin.take().expect("piped"),
            child,
            said,
            session: Value::Null,
            last: 0,
            errors: Vec::new(),
            _profile: profile,
        };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let target = self.order("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        self.session = self.order("Target.attachToTarget", attach)["sessionId"].take();
        for domain in ["Runtime", "Log", "Page"] {
            self.order(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Gives an order of the protocol, and waits for what comes of it.
    pub fn order(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut order = json!({ "id": self.last, "method": method, "params": params });
        if !self.session.is_null() {
            order["sessionId"] = self.session.clone();
        }
        let sent = write!(self.orders, "{order}\0").and_then(|()| self.orders.flush());
        sent.expect("the browser listens");
        loop {
            let said = self.said.recv_timeout(PATIENCE);
            let said = said.unwrap_or_else(|error| panic!("no answer to {order}: {error}"));
            if said["id"] == self.last {
                assert!(said["error"].is_null(), "{order}: {said}");
                return said["result"].clone();
            }
            self.note(&said);
        }
    }

    /// Keeps what a person would see in red in the console.
    fn note(&mut self, said: &Value) {
        let params = &said["params"];
        let is_error = match said["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => params["type"] == "error",
            Some("Log.entryAdded") => params["entry"]["level"] == "error",
            _ => false,
        };
        if is_error {
            self.errors.push(params.to_string());
        }
    }

    /// Errors in the console so far; they are told once.
    pub fn errors(&mut self) -> Vec<String> {
        // Whatever was said before an answer has come before it.
        self.evaluate("0");
        std::mem::take(&mut self.errors)
    }

    /// Goes to an address.
    pub fn open(&mut self, url: &str) {
        self.order("Page.navigate", json!({ "url": url }));
    }

    /// What an expression is, if need be when its promise is kept.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let order =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut result = self.order("Runtime.evaluate", order);
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {result}"
        );
        result["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(expression) != Value::Bool(true) {
            if Instant::now() > deadline {
                let page = self.evaluate("document.body.innerText");
                panic!(
                    "it does not come true: {expression}\n{:?}\n{page}",
                    self.errors
                );
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Waits until the page says this.
    pub fn wait_for_text(&mut self, text: &str) {
        let text = Value::from(text);
        self.wait_for(&format!("!!document.body?.innerText.includes({text})"));
    }

    /// Waits until an element is there, and presses and releases the mouse on its middle.
    pub fn click(&mut self, selector: &str) {
        let element = format!("document.querySelector({})", Value::from(selector));
        self.wait_for(&format!("!!{element}?.checkVisibility()"));
        let place = self.evaluate(&format!(
            "(() => {{ const element = {element}; element.scrollIntoView({{ block: 'center', behavior: 'instant' }});
              const box = element.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.order("Input.dispatchMouseEvent", event);
        }
    }

    /// Types into what has the focus.
    pub fn write(&mut self, text: &str) {
        self.order("Input.insertText", json!({ "text": text }));
    }

    /// Presses and releases a key.
    pub fn press(&mut self, key: &str, code: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            self.order("Input.dispatchKeyEvent", event);
        }
    }

    /// Shows pages as a device of this width does whose user likes this colour scheme.
    pub fn look_like(&mut self, width: u32, scheme: &str) {
        let device =
            json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.order("Emulation.setDeviceMetricsOverride", device);
        let liked = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.order("Emulation.setEmulatedMedia", liked);
    }

    /// The page's buttons, links, tables and the like of which assistive technology hears no name.
    pub fn nameless(&mut self) -> Vec<Value> {
        let mut tree = self.order("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array_mut().expect("a page has some");
        let named = ["button", "link", "table", "region", "textbox", "combobox"];
        nodes.retain(|node| {
            let has_role = named.iter().any(|role| node["role"]["value"] == *role);
            has_role && node["name"]["value"].as_str().is_none_or(str::is_empty)
        });
        std::mem::take(nodes)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end with it.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

//! A headless Chromium, spoken to over a pipe in its own protocol.
//!
//! A page needs to be seen and typed at, no more: forty lines of pipe are less
//! than a driver, its server and an asynchronous runtime.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A browser that does not answer for so long is not coming back.
const PATIENCE: Duration = Duration::from_secs(180);

/// A browser with one page open.
pub(crate) struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    /// What happened and was not asked for yet.
    events: VecDeque<Value>,
    session: Option<String>,
    last: u64,
    _profile: TempDir,
}

impl Browser {
    /// Starts Debian's Chromium, or the program that `CHROMIUM` names.
    pub(crate) fn start() -> Self {
        let program = std::env::var_os("CHROMIUM").unwrap_or_else(|| "chromium".into());
        let profile = TempDir::new().expect("a folder for the profile");
        let mut process = Command::new("sh")
            // The protocol is spoken on descriptors 3 and 4.
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>&2"])
            .arg(&program)
            .args(["--headless=new", "--remote-debugging-pipe", "--no-sandbox"])
            .args(["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args([
                "--disable-background-networking",
                "--force-color-profile=srgb",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("to start a shell");
        let commands = process.stdin.take().expect("its input");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in output.split(0) {
                let Ok(message) = message else { break };
                let message = serde_json::from_slice(&message).expect("JSON from the browser");
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            process,
            commands,
            messages,
            events: VecDeque::new(),
            session: None,
            last: 0,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach)["sessionId"].clone();
        browser.session = session.as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(1000, 900);
        browser
    }

    fn message(&mut self) -> Value {
        let message = self.messages.recv_timeout(PATIENCE);
        message.expect("an answer of Chromium: is the package `chromium` installed?")
    }

    /// Does something and waits for its result.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        let mut text = command.to_string().into_bytes();
        text.push(0);
        // If it is gone, the missing answer says so better.
        let _ = self.commands.write_all(&text);
        loop {
            let mut message = self.message();
            if message["id"] == self.last {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.events.push_back(message);
        }
    }

    /// The events of some kind since this was last asked.
    pub(crate) fn events(&mut self, methods: &[&str]) -> Vec<Value> {
        let wanted = |event: &Value| methods.iter().any(|m| event["method"] == *m);
        let (found, rest): (Vec<_>, Vec<_>) = self.events.drain(..).partition(wanted);
        self.events = rest.into();
        found
    }

    /// Opens a file and waits until all of it is there.
    pub(crate) fn open(&mut self, file: &Path) {
        self.events.clear();
        let url = format!("file://{}", file.display());
        self.call("Page.navigate", json!({ "url": url }));
        while self.events(&["Page.loadEventFired"]).is_empty() {
            let message = self.message();
            self.events.push_back(message);
        }
    }

    /// The size of the window.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// What the system prefers: `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        );
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let mut result = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "returnByValue": true }),
        );
        assert!(
            result.get("exceptionDetails").is_none(),
            "{expression}: {result}"
        );
        result["result"]["value"].take()
    }

    /// Waits until an expression has a value: the page is told of some things
    /// after the fact.
    #[track_caller]
    pub(crate) fn becomes(&mut self, expression: &str, expected: &str) {
        let late = Instant::now() + PATIENCE;
        loop {
            let value = self.eval(expression);
            if value == expected {
                return;
            }
            assert!(
                Instant::now() < late,
                "{expression}: {value}, not {expected}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses a key as a person would.
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            "/" => 191,
            other => panic!("what is the code of {other}?"),
        };
        let text = match key {
            "Enter" => "\r",
            "/" => "/",
            _ => "",
        };
        let event = |kind: &str| json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
        let mut down = event(if text.is_empty() {
            "rawKeyDown"
        } else {
            "keyDown"
        });
        if !text.is_empty() {
            down["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", event("keyUp"));
    }

    /// Types into what has the focus.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// The window as it looks.
    pub(crate) fn picture(&mut self) -> Picture {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        Picture::decode(shot["data"].as_str().expect("a picture"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ours alone: it was started for this value.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A screenshot.
pub(crate) struct Picture {
    width: usize,
    pixels: Vec<u8>,
    channels: usize,
}

impl Picture {
    fn decode(base64: &str) -> Self {
        let bytes = BASE64_STANDARD.decode(base64).expect("base64");
        if let Some(path) = std::env::var_os("KEEP_SCREENSHOT") {
            std::fs::write(path, &bytes).expect("to keep the picture");
        }
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut pixels).expect("a picture");
        Self {
            width: info.width as usize,
            channels: info.color_type.samples(),
            pixels,
        }
    }

    /// The colour of a pixel.
    pub(crate) fn at(&self, x: f64, y: f64) -> [u8; 3] {
        let at = (y as usize * self.width + x as usize) * self.channels;
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }

    /// How many pixels of a rectangle have nearly this colour.
    pub(crate) fn count(&self, [left, top, right, bottom]: [f64; 4], color: [u8; 3]) -> usize {
        let near = |a: [u8; 3]| a.iter().zip(color).all(|(&a, b)| a.abs_diff(b) <= 12);
        let columns = left as usize..=right as usize;
        let all = columns.flat_map(|x| (top as usize..=bottom as usize).map(move |y| (x, y)));
        all.filter(|&(x, y)| near(self.at(x as f64, y as f64)))
            .count()
    }
}

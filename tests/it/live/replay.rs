//! A QMP server that replays a recorded session, one that records, and servers that misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// A session: the greeting, and what each monitor command printed.
#[derive(Clone)]
pub(crate) struct Session {
    pub(super) greeting: String,
    pub(super) answers: BTreeMap<String, String>,
}

impl Session {
    /// Reads a session from lines of JSON: the greeting, then `[command, answer]`.
    pub(super) fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        Self {
            greeting: lines.next().unwrap().to_owned(),
            answers: lines
                .map(|line| serde_json::from_str::<(String, String)>(line).unwrap())
                .collect(),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let pairs = self.answers.iter();
        let lines = pairs.map(|pair| serde_json::to_string(&pair).unwrap());
        let lines: Vec<_> = [self.greeting.clone()].into_iter().chain(lines).collect();
        lines.join("\n")
    }

    /// Serves the session at `socket`, to one client after another, until the process ends.
    /// Whatever is not in the session is refused.
    pub(crate) fn serve(self, socket: &Path) {
        let listener = UnixListener::bind(socket).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client may leave at any time.
                let _ = self.answer(stream.unwrap());
            }
        });
    }

    fn answer(&self, mut stream: UnixStream) -> std::io::Result<()> {
        let reader = BufReader::new(stream.try_clone()?);
        writeln!(stream, "{}", self.greeting.trim_end())?;
        for line in reader.lines() {
            let message: Value = serde_json::from_str(&line?)?;
            // QEMU reports what happens in between whenever it happens.
            writeln!(stream, "{}", json!({ "event": "RTC_CHANGE", "data": {} }))?;
            let command = message["arguments"]["command-line"].as_str();
            let answer = match (message["execute"].as_str(), command) {
                (Some("qmp_capabilities"), None) => json!({ "return": {} }),
                (Some("human-monitor-command"), Some(command)) => match self.answers.get(command) {
                    Some(text) => json!({ "return": text }),
                    None => json!({ "error": { "class": "GenericError", "desc": "not recorded" } }),
                },
                _ => json!({ "error": { "class": "CommandNotFound", "desc": "not recorded" } }),
            };
            // In pieces, as a socket may deliver it.
            let line = format!("{answer}\r\n");
            let (first, rest) = line.as_bytes().split_at(line.len() / 2);
            stream.write_all(first)?;
            stream.flush()?;
            stream.write_all(rest)?;
        }
        Ok(())
    }
}

/// A server between one client and QEMU, that keeps what they say.
pub(super) struct Recorder {
    pub(super) socket: PathBuf,
    thread: JoinHandle<Session>,
    _directory: TempDir,
}

impl Recorder {
    pub(super) fn start(qemu: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("recorder");
        let listener = UnixListener::bind(&socket).unwrap();
        let qemu = qemu.to_owned();
        let thread = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut qemu = BufReader::new(UnixStream::connect(qemu).unwrap());
            let mut session = Session {
                greeting: String::new(),
                answers: BTreeMap::new(),
            };
            qemu.read_line(&mut session.greeting).unwrap();
            client.write_all(session.greeting.as_bytes()).unwrap();
            session.greeting.truncate(session.greeting.trim_end().len());
            for line in BufReader::new(client.try_clone().unwrap()).lines() {
                let line = line.unwrap();
                writeln!(qemu.get_mut(), "{line}").unwrap();
                let mut answer = String::new();
                qemu.read_line(&mut answer).unwrap();
                client.write_all(answer.as_bytes()).unwrap();
                let message: Value = serde_json::from_str(&line).unwrap();
                let answer: Value = serde_json::from_str(&answer).unwrap();
                if let Some(command) = message["arguments"]["command-line"].as_str() {
                    let text = answer["return"].as_str().unwrap().to_owned();
                    session.answers.insert(command.to_owned(), text);
                }
            }
            session
        });
        Self {
            socket,
            thread,
            _directory: directory,
        }
    }

    /// The session, after its client has left.
    pub(super) fn finish(self) -> Session {
        self.thread.join().unwrap()
    }
}

/// Serves one client these bytes, then holds the connection, or closes it, until dropped.
pub(super) struct Rude {
    pub(super) socket: PathBuf,
    _directory: TempDir,
    _release: mpsc::Sender<()>,
}

/// What a rude server does when it has said its piece.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Hold,
    /// Sends a blank every few milliseconds, for as long as the client listens.
    Drip,
    Close,
    /// Reads what the client says, and closes.
    HearAndClose,
}

impl Rude {
    pub(super) fn start(says: &'static [u8], then: Then) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("rude");
        let listener = UnixListener::bind(&socket).unwrap();
        let (release, released) = mpsc::channel::<()>();
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            // The client may have heard enough.
            let _ = client.write_all(says);
            match then {
                // Ends when the sender is dropped.
                Then::Hold => drop(released.recv()),
                Then::Drip => {
                    while client.write_all(b" ").is_ok() {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
                Then::HearAndClose => drop(client.read(&mut [0; 1024])),
                Then::Close => {}
            }
        });
        Self {
            socket,
            _directory: directory,
            _release: release,
        }
    }
}

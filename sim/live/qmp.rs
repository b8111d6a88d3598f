//! The QEMU Machine Protocol, as much of it as reading needs: greeting, negotiation, commands,
//! and events that come in between. Bounded in bytes, messages and time.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thiserror::Error;

/// Where a QMP server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port: `HOST:PORT`.
    Tcp(String),
}

impl FromStr for Socket {
    type Err = String;

    /// `tcp:HOST:PORT`, `unix:PATH` or `PATH`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(address) = text.strip_prefix("tcp:") {
            let port = address
                .rsplit_once(':')
                .map(|(_, port)| port.parse::<u16>());
            return match port {
                Some(Ok(_)) => Ok(Self::Tcp(address.into())),
                _ => Err("expected tcp:HOST:PORT".into()),
            };
        }
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.is_empty() {
            return Err("expected the path of a socket, or tcp:HOST:PORT".into());
        }
        Ok(Self::Unix(path.into()))
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Why a QMP exchange fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QmpError {
    /// The socket cannot be reached.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection failed.
    #[error("{doing}")]
    Io {
        /// What was done.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The peer closed the connection.
    #[error("{doing}: the connection was closed")]
    Closed {
        /// What was done.
        doing: &'static str,
    },
    /// The peer did not answer in time.
    #[error("{doing}: no answer within {} ms{hint}", timeout.as_millis())]
    Timeout {
        /// What was done.
        doing: &'static str,
        /// How long was waited.
        timeout: Duration,
        /// What may be the cause.
        hint: &'static str,
    },
    /// The peer says what no QMP server says.
    #[error("not a QMP server: it sent {0:?}")]
    NotQmp(String),
    /// A message is longer than any QEMU sends.
    #[error("a message of more than {MESSAGE_BYTES} bytes")]
    TooLong,
    /// Too many events arrived before an answer.
    #[error("no answer among {MESSAGES} messages")]
    NoAnswer,
    /// QEMU refused the command.
    #[error("{command:?}: {description}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's words.
        description: String,
    },
    /// The answer is not of the kind that the command has.
    #[error("{command:?}: expected text, found {found}")]
    NotText {
        /// The command.
        command: String,
        /// What came.
        found: String,
    },
}

/// Longest message accepted: memory maps of large machines are hundreds of KiB.
const MESSAGE_BYTES: usize = 16 << 20;
/// Messages looked at for one answer; all but the last are events.
const MESSAGES: usize = 10_000;
/// Bytes of a strange greeting that are shown.
const SHOWN_CHARACTERS: usize = 60;
/// Longest wait for a connection or for one answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

const GREETING_HINT: &str = "; a monitor that has another client does not answer";

trait Stream: Read + Write + fmt::Debug {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
}

#[cfg(unix)]
impl Stream for UnixStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

impl Stream for TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

/// A connection to a QMP server in command mode.
#[derive(Debug)]
pub struct Qmp {
    stream: Box<dyn Stream>,
    /// Bytes received that no message has used.
    received: Vec<u8>,
    timeout: Duration,
}

impl Qmp {
    /// Connects, reads the greeting and negotiates no capability.
    ///
    /// # Errors
    /// [`QmpError`] if nothing listens there, if it is no QMP server, or if it does not answer
    /// within `timeout`.
    pub fn connect(socket: &Socket, timeout: Duration) -> Result<Self, QmpError> {
        let mut qmp = Self {
            stream: open(socket, timeout).map_err(QmpError::Connect)?,
            received: Vec::new(),
            timeout,
        };
        let line = qmp.line("waiting for the greeting", GREETING_HINT)?;
        let greeting: Option<Value> = serde_json::from_str(&line).ok();
        let Some(version) = greeting.as_ref().and_then(|greeting| greeting.get("QMP")) else {
            return Err(QmpError::NotQmp(
                line.trim_end().chars().take(SHOWN_CHARACTERS).collect(),
            ));
        };
        tracing::info!(%socket, version = %version["version"]["qemu"], "connected");
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command of the human monitor and returns what it prints.
    ///
    /// # Errors
    /// [`QmpError`].
    pub(super) fn monitor(&mut self, command: &str) -> Result<String, QmpError> {
        let arguments = json!({ "command-line": command });
        match self.execute("human-monitor-command", &arguments)? {
            Value::String(text) => Ok(text),
            other => Err(QmpError::NotText {
                command: command.into(),
                found: other.to_string().chars().take(SHOWN_CHARACTERS).collect(),
            }),
        }
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        const SENDING: &str = "sending a command";
        const WAITING: &str = "waiting for an answer";
        tracing::trace!(command, %arguments, "QMP");
        let message = json!({ "execute": command, "arguments": arguments });
        self.stream
            .write_all(format!("{message}\n").as_bytes())
            .map_err(|source| self.failed(SENDING, "", source))?;
        for _ in 0..MESSAGES {
            let line = self.line(WAITING, "")?;
            let mut answer: Value = serde_json::from_str(&line).map_err(|_| {
                QmpError::NotQmp(line.trim_end().chars().take(SHOWN_CHARACTERS).collect())
            })?;
            if let Some(error) = answer.get("error") {
                let words = error["desc"].as_str().unwrap_or("no description");
                return Err(QmpError::Refused {
                    command: arguments["command-line"].as_str().unwrap_or(command).into(),
                    description: words.into(),
                });
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
        Err(QmpError::NoAnswer)
    }

    /// The next line, waited for no longer than the timeout however slowly it drips.
    #[expect(
        clippy::disallowed_methods,
        reason = "a peer that never ends its message must not hang the command; no result depends on it"
    )]
    fn line(&mut self, doing: &'static str, hint: &'static str) -> Result<String, QmpError> {
        let deadline = Instant::now() + self.timeout;
        let mut searched = 0;
        loop {
            if let Some(end) = self.received[searched..].iter().position(|b| *b == b'\n') {
                let rest = self.received.split_off(searched + end + 1);
                let line = std::mem::replace(&mut self.received, rest);
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            searched = self.received.len();
            if searched > MESSAGE_BYTES {
                return Err(QmpError::TooLong);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.failed(doing, hint, io::ErrorKind::TimedOut.into()));
            }
            let mut buffer = [0; 16 << 10];
            let count = self
                .stream
                .set_timeout(left)
                .and_then(|()| self.stream.read(&mut buffer))
                .map_err(|source| self.failed(doing, hint, source))?;
            match count {
                0 if searched == 0 => return Err(QmpError::Closed { doing }),
                // A server that is none may end without a line end.
                0 => self.received.push(b'\n'),
                _ => self.received.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn failed(&self, doing: &'static str, hint: &'static str, source: io::Error) -> QmpError {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => QmpError::Timeout {
                doing,
                timeout: self.timeout,
                hint,
            },
            _ => QmpError::Io { doing, source },
        }
    }
}

/// Connects on a thread of its own: a Unix socket whose backlog is full blocks without end.
fn open(socket: &Socket, timeout: Duration) -> io::Result<Box<dyn Stream>> {
    let (sender, receiver) = mpsc::channel();
    let socket = socket.clone();
    std::thread::spawn(move || {
        // Nobody listens any more if the time is over.
        let _ = sender.send(open_blocking(&socket, timeout));
    });
    let stream = receiver
        .recv_timeout(timeout)
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_timeout(timeout)?;
    Ok(stream)
}

fn open_blocking(socket: &Socket, timeout: Duration) -> io::Result<Box<dyn Stream + Send>> {
    match socket {
        #[cfg(unix)]
        Socket::Unix(path) => Ok(Box::new(UnixStream::connect(path)?)),
        #[cfg(not(unix))]
        Socket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        Socket::Tcp(address) => {
            let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in address.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, timeout) {
                    Ok(stream) => return Ok(Box::new(stream)),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Socket;

    #[test]
    fn a_socket_is_a_path_or_a_port() {
        let parse = |text: &str| text.parse::<Socket>();
        assert_eq!(parse("run/vm.qmp"), Ok(Socket::Unix("run/vm.qmp".into())));
        assert_eq!(parse("unix:vm"), Ok(Socket::Unix("vm".into())));
        assert_eq!(
            parse("tcp:localhost:4444"),
            Ok(Socket::Tcp("localhost:4444".into()))
        );
        assert!(parse("tcp:localhost").is_err());
        assert!(parse("").is_err());
    }
}

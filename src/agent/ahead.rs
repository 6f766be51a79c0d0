//! Conversations begun ahead of their use: an ssh handshake takes some tenths of a second, in which there is other work.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::connection::{ConnectError, Connection};
use crate::transport::patience::Stop;
use crate::transport::{Remote, TransportError};

/// A conversation that has waited longer may have been ended by a firewall or by sshd: a new one is safer.
const FRESH: Duration = Duration::from_secs(10);

/// How often somebody who waits looks whether it is still to wait.
const TICK: Duration = Duration::from_millis(50);

/// Conversations with the agent of one host that are being set up. Dropping it ends those that nobody took.
pub struct Ahead {
    remote: Arc<Remote>,
    compress: bool,
    begun: Mutex<VecDeque<Begun>>,
}

struct Begun {
    at: Instant,
    stop: Stop,
    thread: JoinHandle<()>,
    answer: Receiver<Result<Connection, ConnectError>>,
    /// The answer, once somebody has taken it.
    known: Option<Result<Connection, ConnectError>>,
}

impl Ahead {
    /// Begins nothing yet. `compress` as in [`Connection::open`].
    #[must_use]
    pub fn new(remote: Arc<Remote>, compress: bool) -> Ahead {
        Ahead {
            remote,
            compress,
            begun: Mutex::default(),
        }
    }

    /// The host.
    #[must_use]
    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Begins `count` more conversations, each over a connection of its own. Where that is not possible, whoever needs
    /// one will hear why.
    pub fn begin(&self, count: usize) {
        if self.remote.is_local() {
            return;
        }
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..count {
            let (remote, compress, stop) = (Arc::clone(&self.remote), self.compress, Stop::default());
            let own = stop.clone();
            let (sender, answer) = mpsc::sync_channel(1);
            // One is enough to see how the host answers.
            let open = if begun.is_empty() {
                Connection::open_tried
            } else {
                Connection::open_own
            };
            let spawned = std::thread::Builder::new()
                .name("ahead".to_owned())
                .spawn(move || {
                    // Whoever asked may have gone: then the conversation ends here.
                    let _ = sender.send(open(&remote, compress, &own));
                });
            if let Ok(thread) = spawned {
                begun.push_back(Begun {
                    at: Instant::now(),
                    stop,
                    thread,
                    answer,
                    known: None,
                });
            }
        }
    }

    /// Waits for the conversation that was begun first, as long as `wanted` says so, and says whether the host answers as
    /// it must: `true` runs there, and nobody adds a word. When it does not, or none was begun, nothing is known.
    pub fn answers_quietly(&self, wanted: &dyn Fn() -> bool) -> bool {
        while wanted() {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(first) = begun.front_mut() else {
                return false;
            };
            match first.wait(TICK) {
                Some(Ok(connection)) => return connection.is_quiet(),
                Some(Err(_)) => return false,
                None => {}
            }
        }
        false
    }

    /// The conversation that was begun first, once it is ready; `None` when none is left, or it is too old or could not
    /// be set up: then the caller opens one itself, and sees why that fails.
    #[must_use]
    pub fn take(&self) -> Option<Connection> {
        loop {
            let mut next = self
                .begun
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()?;
            if next.at.elapsed() > FRESH {
                next.end();
                continue;
            }
            while next.wait(TICK).is_none() {}
            return match next.known {
                Some(Ok(connection)) => Some(connection),
                Some(Err(error)) => {
                    log::debug!("a connection begun ahead failed: {error}");
                    None
                }
                None => None,
            };
        }
    }

    /// Ends what nobody took.
    pub fn end(&self) {
        let left = std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        for begun in &left {
            begun.stop.raise();
        }
        for begun in left {
            begun.end();
        }
    }
}

impl Begun {
    /// The answer, when it comes within that time.
    fn wait(&mut self, patience: Duration) -> Option<&Result<Connection, ConnectError>> {
        if self.known.is_none() {
            self.known = match self.answer.recv_timeout(patience) {
                Ok(answer) => Some(answer),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Err(lost())),
            };
        }
        self.known.as_ref()
    }

    fn end(self) {
        self.stop.raise();
        // What it was is dropped here: its connection ends with it.
        drop(self.known);
        drop(self.answer);
        let _ = self.thread.join();
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "connections to {}", self.remote.describe())
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread ended without an answer.
fn lost() -> ConnectError {
    TransportError::Lost {
        peer: "a connection begun ahead".to_owned(),
        reason: "its thread ended".to_owned(),
    }
    .into()
}

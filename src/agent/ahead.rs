//! Conversations begun ahead of their use: an ssh handshake takes some tenths of a second, in which there is other work.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::connection::{ConnectError, Connection};
use crate::transport::Remote;
use crate::transport::patience::Stop;

/// A conversation that has waited longer may have been ended by a firewall or by sshd: a new one is safer.
const FRESH: Duration = Duration::from_secs(10);

/// Conversations with the agent of one host that are being set up. Dropping it ends those that nobody took.
#[derive(Debug)]
pub struct Ahead {
    remote: Arc<Remote>,
    compress: bool,
    begun: Mutex<VecDeque<Begun>>,
}

#[derive(Debug)]
struct Begun {
    at: Instant,
    stop: Stop,
    thread: JoinHandle<Result<Connection, ConnectError>>,
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
            let spawned = std::thread::Builder::new()
                .name("ahead".to_owned())
                .spawn(move || Connection::open_own(&remote, compress, &own));
            if let Ok(thread) = spawned {
                begun.push_back(Begun {
                    at: Instant::now(),
                    stop,
                    thread,
                });
            }
        }
    }

    /// The conversation that was begun first, once it is ready; `None` when none is left, or it is too old or could not
    /// be set up: then the caller opens one itself, and sees why that fails.
    #[must_use]
    pub fn take(&self) -> Option<Connection> {
        loop {
            let next = self
                .begun
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()?;
            if next.at.elapsed() > FRESH {
                next.end();
                continue;
            }
            return match next.thread.join() {
                Ok(Ok(connection)) => Some(connection),
                Ok(Err(error)) => {
                    log::debug!("a connection begun ahead failed: {error}");
                    None
                }
                Err(_) => None,
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
    fn end(self) {
        self.stop.raise();
        // What it was is dropped here: its connection ends with it.
        let _ = self.thread.join();
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.end();
    }
}

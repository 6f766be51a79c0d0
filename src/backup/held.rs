//! The session that holds a backup open: PostgreSQL ends a backup whose session ends, so that the whole backup goes on
//! over one connection, and a lost connection means a lost backup.
//!
//! A thread watches it. Every second it looks whether the server has closed the connection, without asking anything;
//! every `keepalive_interval` it sends a query, so that no firewall takes the connection for dead. When the connection
//! is gone, whoever holds the session is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::postgres::client::{Patience, PgError, Session};

/// Barman's words for it.
pub(super) const LOST: &str = "Connection to the Postgres server was lost during the backup.";

/// How often the watching thread looks at the connection.
const LOOK: Duration = Duration::from_secs(1);

/// How long the answer to a keepalive query may take.
const ANSWER: Duration = Duration::from_secs(60);

/// A session and the thread that watches it.
#[derive(Debug)]
pub(super) struct HeldSession {
    session: Arc<Mutex<Session>>,
    lost: Arc<AtomicBool>,
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HeldSession {
    pub(super) fn new(session: Session) -> HeldSession {
        HeldSession {
            session: Arc::new(Mutex::new(session)),
            lost: Arc::new(AtomicBool::new(false)),
            watch: None,
        }
    }

    /// The session, for one or a few statements.
    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the watching thread found the connection gone.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Starts to watch; an `interval` of zero sends no queries. `on_loss` is called, once, when the connection is gone.
    pub(super) fn watch(
        &mut self,
        interval: Duration,
        on_loss: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let (stop, stopped) = mpsc::channel::<()>();
        let (session, lost) = (Arc::clone(&self.session), Arc::clone(&self.lost));
        let thread = std::thread::Builder::new()
            .name("keepalive".to_owned())
            .spawn(move || {
                let mut last_query = Instant::now();
                while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                    let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
                    let due = !interval.is_zero() && last_query.elapsed() >= interval;
                    let state = if due {
                        ask(&mut session)
                    } else {
                        look(&mut session)
                    };
                    if due {
                        last_query = Instant::now();
                    }
                    if let Err(error) = state {
                        log::error!(target: "barman.postgres", "{LOST} {error}");
                        lost.store(true, Ordering::SeqCst);
                        on_loss();
                        return;
                    }
                }
            })?;
        self.watch = Some(Watch {
            stop: Some(stop),
            thread: Some(thread),
        });
        Ok(())
    }

    /// Ends the watching: what follows waits for the server itself.
    pub(super) fn stop_watching(&mut self) {
        self.watch = None;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!(target: "barman.postgres", "the thread that watches the connection panicked");
        }
    }
}

fn ask(session: &mut Session) -> Result<(), PgError> {
    // A signal is no reason to take the connection for lost.
    session.set_patience(Patience::For(ANSWER));
    let answer = session.ping();
    session.set_patience(Patience::UntilInterrupted);
    answer
}

fn look(session: &mut Session) -> Result<(), PgError> {
    if session.is_alive() {
        Ok(())
    } else {
        Err(PgError::Lost("the server closed the connection".to_owned()))
    }
}

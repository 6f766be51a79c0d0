//! Whether commits begin or cease to wait for us while WAL is received.
//!
//! `pg_receivewal` is told at its start whether it must flush what it receives at once (`--synchronous`). When
//! `synchronous_standby_names` comes to name a receiver that was not told so, every commit waits until a segment is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::base::error::{PathContext, PathError};
use crate::config::ServerConfig;
use crate::postgres::client::{PgError, Session};
use crate::postgres::replication::{is_synchronous, synchronous_names};

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_secs(15);

/// Looks after the setting on a thread of its own, because a server that has vanished may keep it waiting. Dropping it ends
/// that.
#[derive(Debug)]
pub(super) struct Watch {
    changed: Arc<AtomicBool>,
    /// The thread's sign to end is that nobody holds this any more.
    _alive: mpsc::Sender<()>,
}

impl Watch {
    /// Begins to look. `synchronous` is what `pg_receivewal` was told.
    pub(super) fn start(config: &ServerConfig, synchronous: bool) -> Result<Watch, PathError> {
        let (alive, ended) = mpsc::channel();
        let changed = Arc::new(AtomicBool::new(false));
        let (flag, config) = (Arc::clone(&changed), config.clone());
        let look = move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                match ask(&config) {
                    Ok(now) => flag.store(now != synchronous, Ordering::SeqCst),
                    // Whoever does not answer does not send WAL either: pg_receivewal says so.
                    Err(error) => {
                        log::debug!(target: "barman.postgres", "cannot look at synchronous_standby_names: {error}")
                    }
                }
            }
        };
        std::thread::Builder::new()
            .name("synchronous".to_owned())
            .spawn(look)
            .at("start a thread for", "synchronous_standby_names")?;
        Ok(Watch {
            changed,
            _alive: alive,
        })
    }

    /// Whether `pg_receivewal` has to be told something else.
    pub(super) fn has_changed(&self) -> bool {
        self.changed.load(Ordering::SeqCst)
    }
}

fn ask(config: &ServerConfig) -> Result<bool, PgError> {
    let conninfo = config.conninfo.as_deref().unwrap_or_default();
    let setting = Session::connect(conninfo)?.setting("synchronous_standby_names")?;
    let names = synchronous_names(&setting.unwrap_or_default());
    Ok(is_synchronous(&names, &config.streaming_archiver_name))
}

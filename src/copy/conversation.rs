//! The conversation of a worker with an agent: held again when the line broke, and how its two halves end.

use std::thread;
use std::time::{Duration, Instant};

use super::CopyError;
use super::plan::Retries;
use super::queue::Queue;
use crate::agent::connection::{AgentError, ConnectError};
use crate::base::interrupt;
use crate::base::report::Reporter;
use crate::transport::Remote;
use crate::transport::frame::FrameError;
use crate::transport::patience::Stop;

/// The longest sleep between two looks at whether it is over.
const LOOK_UP: Duration = Duration::from_millis(50);

/// Why a conversation ended before its time.
pub(super) enum End {
    /// The connection broke: another may serve.
    Lost(CopyError),
    /// Another connection would not help.
    Fatal(CopyError),
}

impl<E: Into<CopyError>> From<E> for End {
    fn from(error: E) -> End {
        End::Fatal(error.into())
    }
}

impl End {
    /// Of one that did not begin.
    pub(super) fn unreachable(error: ConnectError, remote: &Remote) -> End {
        match error {
            ConnectError::Path(error) => End::Fatal(error.into()),
            ConnectError::Transport(error) => End::Lost(error.into()),
            error @ ConnectError::CannotRun { .. } => End::Lost(CopyError::Remote {
                host: remote.describe(),
                message: error.to_string(),
            }),
        }
    }

    /// Of a thread that receives and one that sends, which `host` answers.
    pub(super) fn of_both(
        received: Result<(), End>,
        sent: thread::Result<Result<(), End>>,
        host: &str,
    ) -> Result<(), End> {
        let sent = sent.unwrap_or_else(|_| {
            Err(End::Fatal(CopyError::Remote {
                host: host.to_owned(),
                message: "the sending thread failed".to_owned(),
            }))
        });
        match (received, sent) {
            // The line broke because the sender gave up.
            (Err(End::Lost(_)), Err(End::Fatal(error))) => Err(End::Fatal(error)),
            (Err(end), _) => Err(end),
            (Ok(()), sent) => sent,
        }
    }
}

/// What is said of a line to `host` that broke.
pub(super) fn lost(host: &str) -> impl Fn(FrameError) -> CopyError {
    move |source| {
        AgentError::Lost {
            host: host.to_owned(),
            source,
        }
        .into()
    }
}

/// Converses until there is nothing left, connecting again as often as the plan says.
pub(super) fn keep_at<T>(
    queue: &Queue<T>,
    retries: Retries,
    reporter: &dyn Reporter,
    mut converse: impl FnMut(&Stop) -> Result<(), End>,
) {
    let mut attempt = 0;
    loop {
        match converse(&queue.stop.child()) {
            Ok(()) => return,
            Err(End::Lost(error)) if attempt < retries.times && queue.stop.check().is_ok() => {
                attempt += 1;
                reporter.warning(&format!(
                    "{error}: connecting again in {} seconds ({attempt} of {})",
                    retries.sleep.as_secs(),
                    retries.times
                ));
                rest(&queue.stop, retries.sleep);
            }
            Err(End::Lost(error) | End::Fatal(error)) => {
                queue.fail(match interrupt::check() {
                    Ok(()) => error,
                    Err(interrupted) => interrupted.into(),
                });
                return;
            }
        }
    }
}

fn rest(stop: &Stop, pause: Duration) {
    let end = Instant::now() + pause;
    while Instant::now() < end && stop.check().is_ok() {
        thread::sleep(LOOK_UP.min(end.saturating_duration_since(Instant::now())));
    }
}

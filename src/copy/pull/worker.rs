//! A worker: one conversation with an agent, two threads. One sends requests and describes old files, the other receives and
//! writes. Many requests are under way, so that the length of the line does not matter.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use super::assemble::{Received, receive};
use super::pending::{End, Pending};
use super::sending::send;
use super::window::Window;
use super::{Pull, Task};
use crate::agent::connection::{AgentError, Answers, ConnectError, Connection};
use crate::base::interrupt;
use crate::copy::CopyError;
use crate::copy::compare::Action;
use crate::transport::frame::FrameError;
use crate::transport::patience::Stop;

/// Requests under way per worker: enough to fill the line with small files, few enough open files.
const PIPELINE: usize = 64;

/// Works until there is nothing left, connecting again as often as the plan says.
pub(super) fn work(pull: &Pull, mut connection: Option<Connection>) {
    let mut attempt = 0;
    loop {
        let stop = pull.queue.stop.child();
        let end = match connection.take().map_or_else(
            || Connection::open_own(pull.source, pull.plan.compress, &stop),
            Ok,
        ) {
            Ok(mut connection) => {
                let before = connection.received();
                let end = converse(pull, &mut connection, &stop);
                let received = connection.received() - before;
                pull.tally
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .wire_bytes += received;
                end
            }
            Err(ConnectError::Path(error)) => Err(End::Fatal(error.into())),
            Err(ConnectError::Transport(error)) => Err(End::Lost(error.into())),
            Err(error @ ConnectError::CannotRun { .. }) => Err(End::Lost(CopyError::Remote {
                host: pull.source.describe(),
                message: error.to_string(),
            })),
        };
        match end {
            Ok(()) => return,
            Err(End::Lost(error)) if attempt < pull.plan.retries.times && pull.queue.stop.check().is_ok() => {
                attempt += 1;
                let pause = pull.plan.retries.sleep;
                pull.reporter.warning(&format!(
                    "{error}: connecting again in {} seconds ({attempt} of {})",
                    pause.as_secs(),
                    pull.plan.retries.times
                ));
                rest(pull, pause);
            }
            Err(End::Lost(error) | End::Fatal(error)) => {
                pull.queue.fail(match interrupt::check() {
                    Ok(()) => error,
                    Err(interrupted) => interrupted.into(),
                });
                return;
            }
        }
    }
}

fn rest(pull: &Pull, pause: Duration) {
    let end = Instant::now() + pause;
    while Instant::now() < end && pull.queue.stop.check().is_ok() {
        std::thread::sleep(Duration::from_millis(50).min(end.saturating_duration_since(Instant::now())));
    }
}

/// Takes tasks until there are none. Tasks that were under way when the connection broke go back to the queue.
fn converse(pull: &Pull, connection: &mut Connection, stop: &Stop) -> Result<(), End> {
    let host = connection.host().to_owned();
    let lost = |source: FrameError| {
        CopyError::from(AgentError::Lost {
            host: host.clone(),
            source,
        })
    };
    let (requests, answers) = connection.split()?;
    let (sender, pending) = bounded::<Pending>(PIPELINE);
    let window = Window::default();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(pull, requests, sender, &window, stop, &lost));
        let received = receive_all(pull, answers, &pending, &window, &lost);
        if received.is_err() {
            stop.raise();
        }
        // Until the sender has noticed: what it still sends goes back.
        for left in &pending {
            pull.queue.again(left.task);
        }
        let sent = sending.join().unwrap_or_else(|_| {
            let message = "the sending thread failed".to_owned();
            Err(End::Fatal(CopyError::Remote {
                host: host.clone(),
                message,
            }))
        });
        match (received, sent) {
            (Err(End::Lost(_)), Err(End::Fatal(error))) | (Err(End::Fatal(error)), _) => {
                Err(End::Fatal(error))
            }
            (Err(lost), _) => Err(lost),
            (Ok(()), sent) => sent,
        }
    })
}

fn receive_all(
    pull: &Pull,
    answers: &mut Answers,
    pending: &Receiver<Pending>,
    window: &Window,
    lost: &dyn Fn(FrameError) -> CopyError,
) -> Result<(), End> {
    for due in pending {
        let task = due.task.clone();
        let started = due.started;
        let outcome = receive(pull, answers, due, window, lost);
        match outcome {
            Ok(Received::Complete(size, outcome)) => pull.complete(&task, size, started, outcome)?,
            Ok(Received::Vanished) => pull.vanished(&task, started)?,
            Ok(Received::Differently(action)) => pull.queue.again(Task { action, ..task }),
            Err(end) => {
                let action = if task.action == Action::Reuse {
                    Action::Whole
                } else {
                    task.action
                };
                pull.queue.again(Task { action, ..task });
                return Err(end);
            }
        }
    }
    Ok(())
}

//! A worker: one conversation with an agent, two threads. One sends requests and describes old files, the other receives and
//! writes. Many requests are under way, so that the length of the line does not matter.

use std::sync::PoisonError;

use crossbeam_channel::{Receiver, bounded};

use super::assemble::{Received, receive};
use super::pending::Pending;
use super::sending::send;
use super::window::Window;
use super::{Pull, Task};
use crate::agent::connection::{Answers, Connection};
use crate::copy::CopyError;
use crate::copy::compare::Action;
use crate::copy::conversation::{End, keep_at, lost};
use crate::transport::frame::FrameError;
use crate::transport::patience::Stop;

/// Requests under way per worker: enough to fill the line with small files, few enough open files.
const PIPELINE: usize = 64;

/// Works until there is nothing left, connecting again as often as the plan says.
pub(super) fn work(pull: &Pull, mut connection: Option<Connection>) {
    keep_at(&pull.queue, pull.plan.retries, pull.reporter, |stop| {
        let open = || Connection::open_own(pull.source, pull.plan.compress, stop);
        let mut connection = connection
            .take()
            .map_or_else(open, Ok)
            .map_err(|error| End::unreachable(error, pull.source))?;
        let before = connection.received();
        let end = converse(pull, &mut connection, stop);
        let received = connection.received() - before;
        pull.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wire_bytes += received;
        end
    });
}

/// Takes tasks until there are none. Tasks that were under way when the connection broke go back to the queue.
fn converse(pull: &Pull, connection: &mut Connection, stop: &Stop) -> Result<(), End> {
    let host = connection.host().to_owned();
    let lost = lost(&host);
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
        End::of_both(received, sending.join(), &host)
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

//! A worker of a restore: one thread reads files and sends, the other takes the answers.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use xxhash_rust::xxh3::Xxh3Default;

use super::reading::Reading;
use super::{Push, SYNC_AT_ONCE, State, Task};
use crate::agent::connection::{AgentError, Answer, Answers, Connection, Requests, next_answer};
use crate::agent::delta;
use crate::agent::message::bytes_of;
use crate::agent::message::{CHUNK, HASH_SIZE, Request, Response};
use crate::agent::source::WINDOW;
use crate::base::error::PathError;
use crate::copy::CopyError;
use crate::copy::conversation::{End, keep_at, lost};
use crate::postgres::page::PAGE_SIZE;
use crate::transport::frame::FrameError;
use crate::transport::patience::Stop;

/// Requests under way per worker. Each may bring in the hashes of a whole segment file (2 MiB).
const PIPELINE: usize = 8;

/// An answer that is due.
struct Pending {
    task: Task,
    expect: Expect,
    started: Instant,
}

enum Expect {
    /// The hashes of the destination's pages.
    Hashes,
    /// The hash of the bytes sent.
    Stored(u128),
    /// That it is done; the content was right already.
    Done,
}

/// Works until there is nothing left, connecting again as often as the plan says.
pub(super) fn work(push: &Push) {
    // Files whose sync was due when a connection broke: the next one sees to it.
    let mut unsynced = Vec::new();
    keep_at(&push.queue, push.plan.retries, push.reporter, |stop| {
        let mut connection = Connection::open_own(push.destination, push.plan.compress, stop)
            .map_err(|error| End::unreachable(error, push.destination))?;
        let end = converse(push, &mut connection, stop, &mut unsynced);
        let sent = connection.split().map_or(0, |(requests, _)| requests.written());
        push.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wire_bytes += sent;
        end
    });
}

fn converse(
    push: &Push,
    connection: &mut Connection,
    stop: &Stop,
    unsynced: &mut Vec<Vec<u8>>,
) -> Result<(), End> {
    let host = connection.host().to_owned();
    let lost = lost(&host);
    for paths in unsynced.chunks(SYNC_AT_ONCE) {
        sync(connection, paths.to_vec())?;
    }
    unsynced.clear();
    let (requests, answers) = connection.split()?;
    let (sender, pending) = bounded::<Pending>(PIPELINE);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            Sending {
                push,
                requests,
                pending: sender,
                stop,
                lost: &lost,
            }
            .send()
        });
        let received = receive_all(push, answers, &pending, &lost, unsynced);
        if received.is_err() {
            stop.raise();
        }
        for left in &pending {
            push.queue.again(left.task);
        }
        End::of_both(received, sending.join(), &host)
    })?;
    sync(connection, Vec::new())?;
    unsynced.clear();
    Ok(())
}

/// Waits until what this connection wrote is on disk.
fn sync(connection: &mut Connection, directories: Vec<Vec<u8>>) -> Result<(), End> {
    match connection.call(&Request::Sync { directories }) {
        Ok(Response::Done) => Ok(()),
        Ok(other) => Err(End::Lost(
            connection
                .lost(FrameError::Protocol(format!("unexpected answer {other:?}")))
                .into(),
        )),
        Err(error @ AgentError::Failed(_)) => Err(End::Fatal(error.into())),
        Err(error) => Err(End::Lost(error.into())),
    }
}

fn receive_all(
    push: &Push,
    answers: &mut Answers,
    pending: &Receiver<Pending>,
    lost: &dyn Fn(FrameError) -> CopyError,
    unsynced: &mut Vec<Vec<u8>>,
) -> Result<(), End> {
    for Pending {
        task,
        expect,
        started,
    } in pending
    {
        match receive(push, answers, &task, expect, lost) {
            Ok(Received::Complete { written }) => {
                if written {
                    unsynced.push(bytes_of(&task.target));
                }
                push.complete(&task, started, written);
            }
            Ok(Received::Hashes(state)) => push.queue.again(Task { state, ..task }),
            Err(end) => {
                push.queue.again(task);
                return Err(end);
            }
        }
    }
    Ok(())
}

enum Received {
    Complete { written: bool },
    Hashes(State),
}

fn receive(
    push: &Push,
    answers: &mut Answers,
    task: &Task,
    expect: Expect,
    lost: &dyn Fn(FrameError) -> CopyError,
) -> Result<Received, End> {
    let mut hashes = Vec::new();
    let longest = usize::try_from(task.existing_size().div_ceil(PAGE_SIZE as u64)).unwrap_or(usize::MAX);
    loop {
        let answer = next_answer(answers).map_err(|error| End::Lost(lost(error)))?;
        match (answer, &expect) {
            (Answer::Data(data), Expect::Hashes)
                if hashes.len() + data.len() <= longest.saturating_mul(HASH_SIZE) =>
            {
                hashes.extend_from_slice(data);
                // The limit counts both directions.
                push.bandwidth.of(task.item).consume(data.len());
            }
            (Answer::Message(Response::Fetched(fetched)), Expect::Hashes) => {
                let attributes = fetched.attributes;
                return Ok(Received::Hashes(State::Known {
                    size: fetched.size,
                    attributes,
                    hashes,
                }));
            }
            (Answer::Message(Response::Stored { size, hash }), Expect::Stored(expected)) => {
                if size == task.size && hash == *expected {
                    return Ok(Received::Complete { written: true });
                }
                return Err(CopyError::Mismatch {
                    path: task.target.clone(),
                }
                .into());
            }
            (Answer::Message(Response::Done), Expect::Done) => {
                return Ok(Received::Complete { written: false });
            }
            (Answer::Message(Response::Failed(failure)), _) => return Err(AgentError::Failed(failure).into()),
            _ => {
                return Err(End::Lost(lost(FrameError::Protocol(
                    "unexpected answer to a put".to_owned(),
                ))));
            }
        }
    }
}

impl Task {
    fn existing_size(&self) -> u64 {
        match self.state {
            State::Fresh => 0,
            State::Existing { size } | State::Known { size, .. } => size,
        }
    }
}

struct Sending<'a> {
    push: &'a Push<'a>,
    requests: &'a mut Requests,
    pending: Sender<Pending>,
    stop: &'a Stop,
    lost: &'a dyn Fn(FrameError) -> CopyError,
}

impl Sending<'_> {
    fn send(mut self) -> Result<(), End> {
        loop {
            let task = match self.push.queue.try_next() {
                Some(task) => task,
                None => {
                    self.requests.flush().map_err(|error| self.broken(error))?;
                    match self.push.queue.next(self.stop) {
                        Some(task) => task,
                        None => return Ok(()),
                    }
                }
            };
            let started = Instant::now();
            let again = task.clone();
            if let Err(end) = self.start(task, started) {
                self.push.queue.again(again);
                return Err(end);
            }
        }
    }

    fn start(&mut self, task: Task, started: Instant) -> Result<(), End> {
        let path = bytes_of(&task.target);
        match &task.state {
            State::Existing { .. } => {
                self.message(&Request::PageHashes { path })?;
                self.expect(task, Expect::Hashes, started)
            }
            State::Fresh => {
                self.message(&Request::Put { path, patch: false })?;
                let hash = self.content(&task, &[])?;
                self.expect(task, Expect::Stored(hash), started)
            }
            State::Known {
                size,
                attributes,
                hashes,
            } => {
                if *size == task.size && self.is_same(&task, hashes)? {
                    if *attributes != task.attributes {
                        self.message(&Request::SetAttributes {
                            path,
                            attributes: task.attributes,
                        })?;
                        return self.expect(task, Expect::Done, started);
                    }
                    self.push.complete(&task, started, false);
                    return Ok(());
                }
                self.message(&Request::Put { path, patch: true })?;
                let hash = self.content(&task, hashes)?;
                self.expect(task, Expect::Stored(hash), started)
            }
        }
    }

    /// Whether the destination's pages are those of the backup's file.
    fn is_same(&self, task: &Task, hashes: &[u8]) -> Result<bool, End> {
        let mut source = self.open(task)?;
        let mut known = hashes.chunks(HASH_SIZE);
        let mut buffer = vec![0_u8; WINDOW];
        loop {
            let count = source.read(&mut buffer)?;
            if count == 0 {
                let same = known.next().is_none();
                if same && source.finish().damaged {
                    self.push.damaged(task);
                }
                return Ok(same);
            }
            self.stop
                .check()
                .map_err(|error| self.broken(FrameError::Io(error)))?;
            for page in buffer.get(..count).unwrap_or_default().chunks(PAGE_SIZE) {
                if !known.next().is_some_and(|hash| delta::page_is(page, hash)) {
                    return Ok(false);
                }
            }
        }
    }

    /// Sends what the destination does not have, and the end of the file; gives the hash of what was sent.
    fn content(&mut self, task: &Task, hashes: &[u8]) -> Result<u128, End> {
        let mut source = self.open(task)?;
        let mut known = hashes.chunks(HASH_SIZE);
        let mut sent = Xxh3Default::new();
        let mut buffer = vec![
            0_u8;
            WINDOW
                .min(usize::try_from(task.size).unwrap_or(WINDOW))
                .next_multiple_of(PAGE_SIZE)
                .max(PAGE_SIZE)
        ];
        let mut skipped = 0_u64;
        loop {
            let count = source.read(&mut buffer)?;
            let content = buffer.get(..count).unwrap_or_default();
            if content.is_empty() {
                break;
            }
            let mut changed = 0..0;
            let mut offset = 0;
            for page in content.chunks(PAGE_SIZE) {
                let end = offset + page.len();
                // A fresh file has room reserved for zeros; an old one has to have them written.
                let skip = if hashes.is_empty() {
                    delta::is_zero(page)
                } else {
                    known.next().is_some_and(|hash| delta::page_is(page, hash))
                };
                if skip {
                    self.chunks(
                        task.item,
                        content.get(changed).unwrap_or_default(),
                        &mut skipped,
                        &mut sent,
                    )?;
                    changed = end..end;
                    skipped += page.len() as u64;
                } else {
                    changed.end = end;
                }
                offset = end;
            }
            self.chunks(
                task.item,
                content.get(changed).unwrap_or_default(),
                &mut skipped,
                &mut sent,
            )?;
        }
        if skipped > 0 {
            self.message(&Request::Seek { bytes: skipped })?;
        }
        let read = source.finish();
        self.message(&Request::PutEnd {
            size: read.size,
            attributes: task.attributes,
        })?;
        if read.damaged {
            self.push.damaged(task);
        }
        if read.size != task.size {
            // A backup does not change: it is being deleted, or damaged.
            let changed = std::io::Error::other("it changed during the restore");
            return Err(PathError::new("read", &task.source, changed).into());
        }
        Ok(sent.digest128())
    }

    fn chunks(
        &mut self,
        item: usize,
        content: &[u8],
        skipped: &mut u64,
        sent: &mut Xxh3Default,
    ) -> Result<(), End> {
        if content.is_empty() {
            return Ok(());
        }
        if *skipped > 0 {
            self.message(&Request::Seek {
                bytes: std::mem::take(skipped),
            })?;
        }
        for chunk in content.chunks(CHUNK) {
            let before = self.requests.written();
            self.requests.data(chunk).map_err(|error| self.broken(error))?;
            let taken = self.requests.written() - before;
            self.push
                .bandwidth
                .of(item)
                .consume(usize::try_from(taken).unwrap_or(usize::MAX));
            sent.update(chunk);
        }
        Ok(())
    }

    fn open(&self, task: &Task) -> Result<Reading, End> {
        Ok(Reading::open(self.push.plan, task)?)
    }

    fn message(&mut self, request: &Request) -> Result<(), End> {
        self.requests.message(request).map_err(|error| self.broken(error))
    }

    fn expect(&mut self, task: Task, expect: Expect, started: Instant) -> Result<(), End> {
        let mut due = Pending {
            task,
            expect,
            started,
        };
        loop {
            due = match self.pending.try_send(due) {
                Ok(()) => return Ok(()),
                Err(crossbeam_channel::TrySendError::Full(back)) => back,
                Err(crossbeam_channel::TrySendError::Disconnected(_)) => {
                    return Err(self.broken(FrameError::Closed));
                }
            };
            self.requests.flush().map_err(|error| self.broken(error))?;
            self.stop
                .check()
                .map_err(|error| self.broken(FrameError::Io(error)))?;
            due = match self.pending.send_timeout(due, Duration::from_millis(100)) {
                Ok(()) => return Ok(()),
                Err(crossbeam_channel::SendTimeoutError::Timeout(back)) => back,
                Err(crossbeam_channel::SendTimeoutError::Disconnected(_)) => {
                    return Err(self.broken(FrameError::Closed));
                }
            };
        }
    }

    fn broken(&self, error: FrameError) -> End {
        End::Lost((self.lost)(error))
    }
}

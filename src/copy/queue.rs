//! The work that parallel workers share.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::CopyError;
use crate::transport::patience::Stop;

/// How often a waiting worker looks up.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Tasks, those under way, and the first failure.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Raised by the first failure: ends every wait of every connection.
    pub(super) stop: Stop,
}

struct State<T> {
    tasks: VecDeque<T>,
    under_way: usize,
    closed: bool,
    failure: Option<CopyError>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Queue<T> {
        Queue {
            state: Mutex::new(State {
                tasks: VecDeque::new(),
                under_way: 0,
                closed: false,
                failure: None,
            }),
            changed: Condvar::new(),
            stop: Stop::default(),
        }
    }

    pub(super) fn extend(&self, tasks: impl IntoIterator<Item = T>) {
        self.lock().tasks.extend(tasks);
        self.changed.notify_all();
    }

    /// A task that is ready now.
    pub(super) fn try_next(&self) -> Option<T> {
        let mut state = self.lock();
        if state.failure.is_some() {
            return None;
        }
        let task = state.tasks.pop_front()?;
        state.under_way += 1;
        Some(task)
    }

    /// Waits for a task; `None` when there will be none, or `stop` was raised.
    pub(super) fn next(&self, stop: &Stop) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() || stop.check().is_err() {
                return None;
            }
            if let Some(task) = state.tasks.pop_front() {
                state.under_way += 1;
                return Some(task);
            }
            if state.closed && state.under_way == 0 {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// Waits so long, but no longer than there is work to start for. Says whether there is.
    pub(super) fn hold_back(&self, delay: Duration) -> bool {
        let end = Instant::now() + delay;
        let mut state = self.lock();
        loop {
            if state.failure.is_some() || state.closed || self.stop.check().is_err() {
                return state.failure.is_none() && state.under_way + state.tasks.len() > 0;
            }
            if Instant::now() >= end {
                return true;
            }
            state = self.wait(state);
        }
    }

    /// A task is complete.
    pub(super) fn done(&self) {
        self.lock().under_way -= 1;
        self.changed.notify_all();
    }

    /// A task is to be done (again, or differently) by whoever is free.
    pub(super) fn again(&self, task: T) {
        let mut state = self.lock();
        state.under_way -= 1;
        state.tasks.push_front(task);
        drop(state);
        self.changed.notify_all();
    }

    /// Ends everything with the first failure.
    pub(super) fn fail(&self, error: CopyError) {
        self.lock().failure.get_or_insert(error);
        self.stop.raise();
        self.changed.notify_all();
    }

    /// Waits until every task so far is complete.
    pub(super) fn drain(&self) -> Result<(), CopyError> {
        let mut state = self.lock();
        while state.failure.is_none() && (state.under_way > 0 || !state.tasks.is_empty()) {
            crate::base::interrupt::check()?;
            state = self.wait(state);
        }
        match state.failure.take() {
            Some(error) => {
                // Others still see that it is over by the stop flag.
                state.tasks.clear();
                Err(error)
            }
            None => Ok(()),
        }
    }

    /// No more tasks will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed
            .wait_timeout(state, LOOK_UP)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

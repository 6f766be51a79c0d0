//! Ctrl-C, SIGTERM and SIGHUP as a flag that long work looks at between two steps.
//!
//! Nothing is done inside a signal handler. A second signal ends the process at once.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static INTERRUPTED: AtomicUsize = AtomicUsize::new(0);

/// No signal has this number: the work was given up by [`abandon`].
const ABANDONED: usize = usize::MAX;

static REASON: Mutex<&'static str> = Mutex::new("");

/// The work was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// Ctrl-C. The text is the one Barman prints for it.
    #[error("KeyboardInterrupt")]
    Keyboard,
    /// SIGTERM or SIGHUP.
    #[error("terminated by signal {0}")]
    Signal(i32),
    /// Another part of the program found out that the work has become pointless, and why.
    #[error("{0}")]
    Abandoned(&'static str),
}

/// Starts to watch the signals. Called once by commands that have something to clean up.
///
/// # Errors
/// The handlers could not be installed.
pub fn watch() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let armed = Arc::new(AtomicBool::new(false));
        // The order matters: the conditional shutdown sees the flag of an earlier signal only.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))?;
        signal_hook::flag::register(signal, armed)?;
        register_mark(signal)?;
    }
    Ok(())
}

fn register_mark(signal: i32) -> io::Result<()> {
    let number = usize::try_from(signal).unwrap_or_default();
    let mut signals = signal_hook::iterator::Signals::new([signal])?;
    std::thread::Builder::new()
        .name(format!("signal-{signal}"))
        .spawn(move || {
            if signals.forever().next().is_some() {
                INTERRUPTED.store(number, Ordering::SeqCst);
            }
        })?;
    Ok(())
}

/// Whether the work was asked to stop, as an error to hand upwards.
///
/// # Errors
/// [`Interrupted`] once a signal has arrived.
pub fn check() -> Result<(), Interrupted> {
    let mark = INTERRUPTED.load(Ordering::SeqCst);
    if mark == ABANDONED {
        return Err(Interrupted::Abandoned(
            *REASON.lock().unwrap_or_else(PoisonError::into_inner),
        ));
    }
    match i32::try_from(mark).unwrap_or(SIGTERM) {
        0 => Ok(()),
        SIGINT => Err(Interrupted::Keyboard),
        signal => Err(Interrupted::Signal(signal)),
    }
}

/// Forgets a signal that has been dealt with (Ctrl-C while `backup --wait` waits only ends the waiting).
pub fn clear() {
    INTERRUPTED.store(0, Ordering::SeqCst);
}

/// Makes all work stop at its next look, as a signal would: for a thread that watches over something the work needs.
/// A signal that came before stays the reason.
pub fn abandon(reason: &'static str) {
    *REASON.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    // A failed exchange means that a signal came first.
    let _ = INTERRUPTED.compare_exchange(0, ABANDONED, Ordering::SeqCst, Ordering::SeqCst);
}

/// Ends what [`abandon`] began, so that the next piece of work can start. Signals are not forgotten.
pub fn end_abandonment() {
    // A failed exchange means that there is nothing to end.
    let _ = INTERRUPTED.compare_exchange(ABANDONED, 0, Ordering::SeqCst, Ordering::SeqCst);
}

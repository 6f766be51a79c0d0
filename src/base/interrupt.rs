//! Ctrl-C, SIGTERM and SIGHUP as a flag that long work looks at between two steps.
//!
//! Nothing is done inside a signal handler. A second signal ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static INTERRUPTED: AtomicUsize = AtomicUsize::new(0);

/// The work was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// Ctrl-C. The text is the one Barman prints for it.
    #[error("KeyboardInterrupt")]
    Keyboard,
    /// SIGTERM or SIGHUP.
    #[error("terminated by signal {0}")]
    Signal(i32),
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
    match i32::try_from(INTERRUPTED.load(Ordering::SeqCst)).unwrap_or(SIGTERM) {
        0 => Ok(()),
        SIGINT => Err(Interrupted::Keyboard),
        signal => Err(Interrupted::Signal(signal)),
    }
}

/// Forgets a signal that has been dealt with (Ctrl-C while `backup --wait` waits only ends the waiting).
pub fn clear() {
    INTERRUPTED.store(0, Ordering::SeqCst);
}

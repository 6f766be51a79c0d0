//! Ctrl-C: commands that have something to clean up watch for it themselves; the others end at once, in Barman's words.

use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use super::failure::Failure;
use super::session::Session;
use crate::base::interrupt;
use crate::output::Output;

/// Whether the command looks for the interruption itself.
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Ends the process at Ctrl-C, unless a command has asked to see to it itself.
pub(super) fn end_on_ctrl_c(output: &Output) {
    let screen = output.for_interruption();
    let started = Signals::new([SIGINT]).and_then(|mut signals| {
        std::thread::Builder::new()
            .name("ctrl-c".to_owned())
            .spawn(move || {
                if signals.forever().next().is_some() && !WATCHED.load(Ordering::SeqCst) {
                    screen.error_line("Process interrupted by user (KeyboardInterrupt)");
                    std::process::exit(1);
                }
            })
    });
    if let Err(error) = started {
        // Ctrl-C then ends the process without a word.
        log::warn!("cannot watch for Ctrl-C: {error}");
    }
}

impl Session {
    /// From here on the work looks for signals between its steps, and cleans up.
    pub(super) fn watch_signals(&self) -> Result<(), Failure> {
        WATCHED.store(true, Ordering::SeqCst);
        interrupt::watch().map_err(|error| Failure::exception(format!("cannot watch for signals: {error}")))
    }
}

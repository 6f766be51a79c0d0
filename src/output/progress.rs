//! The progress bar: bytes, files, rate and time left, on the standard error of a terminal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::screen::Screen;
use crate::base::report::{Progress, Total};

/// Starts a bar below the lines of the screen.
pub(super) fn bar(screen: &Screen, title: &str, total: Total) -> Box<dyn Progress> {
    let bar = screen.bars.add(ProgressBar::new(total.bytes));
    bar.set_style(style());
    bar.set_prefix(title.to_owned());
    bar.set_message(files(0, total.files));
    // The rate and the time left change while nothing arrives, too.
    bar.enable_steady_tick(Duration::from_millis(250));
    Box::new(Bar {
        bar,
        done: AtomicU64::new(0),
        files: total.files,
    })
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{prefix}  {bar:24} {percent:>3}%  {binary_bytes}/{binary_total_bytes}  {msg}  {binary_bytes_per_sec}  {eta} left",
    )
    // The template is a constant, so this does not happen; the plain bar would do.
    .unwrap_or_else(|_| ProgressStyle::default_bar())
    .progress_chars("━╸─")
}

fn files(done: u64, total: u64) -> String {
    format!("{done}/{total} files")
}

struct Bar {
    bar: ProgressBar,
    done: AtomicU64,
    files: u64,
}

impl Progress for Bar {
    fn advance(&self, bytes: u64, files_done: u64) {
        if files_done > 0 {
            let done = self.done.fetch_add(files_done, Ordering::Relaxed) + files_done;
            self.bar.set_message(files(done, self.files));
        }
        self.bar.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

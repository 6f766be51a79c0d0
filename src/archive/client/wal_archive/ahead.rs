//! The process in the background: it sends what waits behind the first delivery while PostgreSQL asks for what that held.
//!
//! PostgreSQL's calls for noted files take a while together, and the line would rest meanwhile. So the call that sent the
//! first delivery leaves a process behind that sends the next ones. It does what a call does: under the lock, acknowledged
//! before it is noted. A call whose file is not noted yet waits for it ([`Acknowledged::awaits`]). When this process fails,
//! or PostgreSQL does not keep up with it, it ends, and the next call sends its file itself and reports what is wrong.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::followers::{behind, waits};
use super::together::Ask;
use super::{Failure, Route, WalArchive};
use crate::archive::client::Console;
use crate::archive::client::master::Master;
use crate::base::host;

impl WalArchive {
    /// Starts the process if anything waits behind `last`, which has been sent.
    pub(super) fn go_on_behind(&self, last: &Path) {
        let Some((program, arguments)) = self.background.split_first() else {
            return;
        };
        // As with a kept connection: whose child would it become?
        if !host::has_init() || behind(last, 1).is_empty() {
            return;
        }
        let started = Command::new("/proc/self/exe")
            .arg0(program)
            .arg("--send-behind")
            .arg(last.file_name().unwrap_or(OsStr::new("")))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not of the group that PostgreSQL signals: what it has sent would be sent again.
            .process_group(0)
            .spawn();
        if let Err(error) = started {
            log::debug!("nothing is sent in the background: {error}");
        }
    }

    /// What that process does. There is nobody to report to: PostgreSQL's next call meets the same failure, and reports it.
    pub fn send_behind(&self, last: &str) {
        let mut console = Console {
            out: &mut std::io::sink(),
            err: &mut std::io::sink(),
        };
        let Some(directory) = self.private(&mut console) else {
            return;
        };
        let Some(acknowledged) = self.acknowledged(&directory) else {
            return;
        };
        // Without a lead another call sends, or sending ahead has failed of late.
        let Ok(Some(mut lead)) = acknowledged.lead() else {
            return;
        };
        let master = Master::of(&directory, &self.remote, self.persist);
        let mut before = self.wal_path.with_file_name(last);
        let mut files = behind(&before, self.look_ahead);
        while !files.is_empty() {
            let route = Route::of(master.as_ref(), &self.remote);
            let sent = match self.deliver_together(&files, &route, &mut lead, Ask::Now, &mut console) {
                Ok((0, sent)) => sent,
                // The lead is not given back, so that the next calls send one file each for a while.
                Ok((code, _)) => return log::debug!("sending in the background ends: exit code {code}"),
                Err(Failure(text)) => return log::debug!("sending in the background ends: {text}"),
            };
            // What was sent before has been asked for by now, or PostgreSQL does not keep up.
            let behind_time = waits(&before);
            files.truncate(sent.len());
            if let Some(last) = files.pop() {
                before = last;
            }
            files = if behind_time {
                Vec::new()
            } else {
                behind(&before, self.look_ahead)
            };
            if let Err(error) = lead.record(&sent, !files.is_empty()) {
                return log::debug!("sending in the background ends: {error}");
            }
        }
    }
}

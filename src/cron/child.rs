//! Starting this program again, for work that outlives the run of cron.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::base::process::{SpawnError, spawn_detached};

/// How to start this program again.
#[derive(Debug, Clone)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// The name it goes by, which decides which program it is, and by which process lists show it.
    pub name: String,
    /// `--keep-descriptors`: what is started writes to our standard output and error.
    pub keep_descriptors: bool,
}

impl Program {
    /// Starts `{name} -c {configuration} -q {arguments}` and does not wait for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(&self, configuration: &Path, arguments: &[&str]) -> Result<(), SpawnError> {
        let mut command = Command::new(&self.path);
        command
            .arg0(&self.name)
            .arg("-c")
            .arg(configuration)
            .arg("-q")
            .args(arguments);
        let child = if self.keep_descriptors {
            command
                .stdin(Stdio::null())
                .process_group(0)
                .spawn()
                .map_err(|source| SpawnError {
                    program: self.name.clone(),
                    source,
                })?
        } else {
            spawn_detached(&mut command)?
        };
        log::debug!(target: "barman.server", "started process {}: {} {}", child.id(), self.name, arguments.join(" "));
        Ok(())
    }
}

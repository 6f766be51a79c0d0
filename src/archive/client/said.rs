//! What the other side and ssh write to their standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
use std::process::{ChildStderr, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use super::private_directory::PrivateDirectory;

/// How much of it is kept, in bytes.
const LIMIT: u64 = 64 * 1024;

/// What was said, or is still to come.
#[derive(Default)]
pub(super) enum Said {
    #[default]
    Nothing,
    File(File),
    Pipe(std::thread::JoinHandle<String>),
}

impl Said {
    /// Has it written into a file without a name.
    pub(super) fn in_file(directory: &PrivateDirectory, command: &mut Command) -> io::Result<Said> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(&format!(".said.{}.{number}", std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        command.stderr(file.try_clone()?);
        Ok(Said::File(file))
    }

    /// Reads it while it comes.
    pub(super) fn on_pipe(mut stderr: ChildStderr) -> Said {
        Said::Pipe(std::thread::spawn(move || {
            let mut text = Vec::new();
            let kept = (&mut stderr).take(LIMIT).read_to_end(&mut text);
            // The rest is read and dropped, so that the other side never waits for us.
            if let Err(error) = kept.and_then(|_| io::copy(&mut stderr, &mut io::sink()).map(|_| 0)) {
                log::debug!("cannot read what the Barman host says: {error}");
            }
            String::from_utf8_lossy(&text).into_owned()
        }))
    }

    /// The text, when ssh has ended.
    pub(super) fn text(self) -> String {
        match self {
            Said::Nothing => String::new(),
            Said::Pipe(reader) => reader.join().unwrap_or_default(),
            Said::File(mut file) => {
                let mut text = Vec::new();
                let read = file
                    .rewind()
                    .and_then(|()| file.take(LIMIT).read_to_end(&mut text));
                if let Err(error) = read {
                    log::debug!("cannot read what the Barman host says: {error}");
                }
                String::from_utf8_lossy(&text).into_owned()
            }
        }
    }
}

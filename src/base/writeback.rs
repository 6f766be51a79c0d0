//! A file whose content goes to the disk while it is written, so that whoever syncs it has little to wait for.

use std::fs::File;
use std::io::{self, Write};

use super::sys;

/// After so many bytes the disk begins to write them.
const PORTION: u64 = 2 << 20;

/// A file that is written from its beginning on.
#[derive(Debug)]
pub struct EarlyFile {
    file: File,
    written: u64,
    begun: u64,
}

impl EarlyFile {
    /// Writes to `file`, which is empty.
    #[must_use]
    pub fn new(file: File) -> EarlyFile {
        EarlyFile {
            file,
            written: 0,
            begun: 0,
        }
    }

    /// The file, not synced.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Write for EarlyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        if self.written - self.begun >= PORTION {
            sys::start_writeback(&self.file, self.begun, self.written - self.begun);
            self.begun = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

//! Writing a manifest.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::{Checksum, Layout, ManifestFile, hex};
use crate::base::json;

/// Writes a manifest file by file.
pub struct ManifestWriter<W: Write> {
    output: W,
    layout: Layout,
    hash: Sha256,
    files: u64,
}

impl<W: Write> ManifestWriter<W> {
    /// Writes the head.
    ///
    /// # Errors
    /// Writing failed.
    pub fn new(output: W, layout: Layout) -> io::Result<Self> {
        let mut writer = ManifestWriter {
            output,
            layout,
            hash: Sha256::new(),
            files: 0,
        };
        let head = match &writer.layout {
            Layout::PostgreSql {
                system_identifier: Some(system),
                ..
            } => format!(
                "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {system},\n\"Files\": ["
            ),
            Layout::PostgreSql { .. } => {
                "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [".to_owned()
            }
            Layout::Barman => "{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n".to_owned(),
        };
        writer.put(&head)?;
        Ok(writer)
    }

    /// Writes one file.
    ///
    /// # Errors
    /// Writing failed.
    pub fn file(&mut self, file: &ManifestFile) -> io::Result<()> {
        let checksum = hex(&file.checksum);
        let algorithm = file.algorithm.name();
        let time = utc(file.modified);
        let size = file.size;
        let separator = match (self.files, &self.layout) {
            (0, Layout::PostgreSql { .. }) => "\n",
            (0, Layout::Barman) => "",
            _ => ",\n",
        };
        self.files += 1;
        let (key, path) = match std::str::from_utf8(&file.path) {
            // PostgreSQL reads the escapes of Python too.
            Ok(path) => ("Path", json::line(&path).map_err(io::Error::other)?),
            Err(_) => ("Encoded-Path", format!("\"{}\"", hex(&file.path))),
        };
        let sums = if file.algorithm == Checksum::None {
            String::new()
        } else {
            format!(", \"Checksum-Algorithm\": \"{algorithm}\", \"Checksum\": \"{checksum}\"")
        };
        let line = match &self.layout {
            Layout::PostgreSql { .. } => format!(
                "{separator}{{ \"{key}\": {path}, \"Size\": {size}, \"Last-Modified\": \"{time} GMT\"{sums} }}"
            ),
            Layout::Barman => format!(
                "{separator}{{\"Checksum\": \"{checksum}\", \"Checksum-Algorithm\": \"{algorithm}\", \"Last-Modified\": \"{time}\", \"{key}\": {path}, \"Size\": {size}}}"
            ),
        };
        self.put(&line)
    }

    /// Writes the tail with the checksum of everything before.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(mut self) -> io::Result<W> {
        let tail = match &self.layout {
            Layout::PostgreSql { ranges, .. } => {
                let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
                format!("\n],\n\"WAL-Ranges\": [\n{}\n],\n", ranges.join(",\n"))
            }
            Layout::Barman => "],\n".to_owned(),
        };
        self.put(&tail)?;
        let checksum = hex(&self.hash.finalize());
        writeln!(self.output, "\"Manifest-Checksum\": \"{checksum}\"}}")?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        self.hash.update(text);
        self.output.write_all(text.as_bytes())
    }
}

fn utc(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0)
        .unwrap_or_default()
        .format("%Y-%m-%d %H:%M:%S")
        .to_string()
}

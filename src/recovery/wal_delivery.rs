//! Bringing WAL files from the archive to where the restored server reads them: decompressed and decrypted on the way,
//! several at a time, each on disk before it has its name.
//!
//! On another host one small shell loop per worker takes the files from its standard input, in pieces with their length
//! in front, and answers each file; so nothing is staged here, and no more than a piece is in memory.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use crate::base::bandwidth::Bandwidth;
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::base::interrupt;
use crate::base::report::Progress;
use crate::base::shell::quote;
use crate::codec::WalCodec;
use crate::postgres::wal_header::SegmentHeader;
use crate::postgres::wal_name::{SegmentName, WalKind};
use crate::transport::Channel;

use super::destination::{Destination, TEMPORARY_PREFIX, shown, touch_date};
use super::error::RestoreError;
use super::wal_selection::Delivery;

/// Bytes moved at a time.
const PIECE: usize = 256 * 1024;

/// The receiving end on another host. `o NAME` opens a file, `c BYTES` adds what follows, `e BYTES` checks its size,
/// brings it to disk and gives it its name; `m MODE` and `t DATE` before that set what the archive knows.
const RECEIVER: &str = r#"cd DIRECTORY || exit 1
while read -r verb word; do
  case $verb in
    o) name=$word; part="PREFIX$word"; : > "$part" || exit 1 ;;
    c) dd bs="$word" count=1 iflag=fullblock >> "$part" 2>/dev/null || exit 1 ;;
    m) chmod "$word" "$part" || exit 1 ;;
    t) touch -d "$word" "$part" || exit 1 ;;
    e) size=$(wc -c < "$part"); [ "$size" -eq "$word" ] || { echo "$name has $size bytes instead of $word" >&2; exit 1; }
       dd if=/dev/null of="$part" conv=notrunc,fsync 2>/dev/null || exit 1
       mv -f "$part" "$name" || exit 1
       echo ok ;;
  esac
done
"#;

/// How WAL is delivered.
pub struct Deliverer<'a> {
    /// The host.
    pub destination: &'a Destination,
    /// The directory there; it exists.
    pub directory: &'a Path,
    /// How the archive's files are read.
    pub codec: &'a WalCodec,
    /// Bytes of a segment.
    pub segment_size: u64,
    /// The cluster's system identifier, when the backup knows it.
    pub system_identifier: Option<u64>,
    /// The limit that all workers share.
    pub bandwidth: &'a Bandwidth,
    /// Told of every file.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Deliverer<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Deliverer")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Deliverer<'_> {
    /// Delivers `files` with `jobs` workers. When it returns `Ok`, they are on disk.
    ///
    /// # Errors
    /// The first failure of any worker; the others stop at their next file.
    pub fn deliver(&self, files: &[Delivery], jobs: usize) -> Result<(), RestoreError> {
        let next = AtomicUsize::new(0);
        let workers = jobs.clamp(1, files.len().max(1));
        let results: Vec<Result<(), RestoreError>> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..workers)
                .map(|_| scope.spawn(|| self.work(files, &next)))
                .collect();
            handles
                .into_iter()
                .map(|handle| {
                    handle
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        results.into_iter().collect::<Result<(), _>>()?;
        self.destination.sync(self.directory)
    }

    fn work(&self, files: &[Delivery], next: &AtomicUsize) -> Result<(), RestoreError> {
        let mut receiver = if self.destination.is_local() {
            None
        } else {
            Some(Receiver::open(self.destination, self.directory)?)
        };
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done = interrupt::check()
                .map_err(RestoreError::from)
                .and_then(|()| match &mut receiver {
                    None => self.deliver_here(file),
                    Some(receiver) => self.deliver_there(file, receiver),
                });
            if let Err(error) = done {
                next.store(files.len(), Ordering::Relaxed);
                return Err(error);
            }
            self.progress.advance(file.file.size, 1);
        }
        Ok(())
    }

    fn deliver_here(&self, file: &Delivery) -> Result<(), RestoreError> {
        let temporary = self.directory.join(format!("{TEMPORARY_PREFIX}{}", file.name));
        let kept = self.kept(file)?;
        let mut target = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(durable::CATALOG_FILE_MODE)
            .open(&temporary)
            .at("create", &temporary)?;
        let written = self.pump(file, |piece| {
            Ok(target.write_all(piece).at("write", &temporary)?)
        });
        if let Err(error) = written {
            if let Err(left) = fs::remove_file(&temporary) {
                log::warn!(target: "barman.recovery_executor", "cannot remove \"{}\": {left}", temporary.display());
            }
            return Err(error);
        }
        if let Some((mode, modified)) = kept {
            target
                .set_permissions(fs::Permissions::from_mode(mode))
                .at("set the permissions of", &temporary)?;
            target.set_modified(modified).at("set the time of", &temporary)?;
        }
        target.sync_all().at("sync", &temporary)?;
        // The directory is synced once, after all files.
        let path = self.directory.join(&file.name);
        Ok(fs::rename(&temporary, &path).at("rename to", &path)?)
    }

    fn deliver_there(&self, file: &Delivery, receiver: &mut Receiver) -> Result<(), RestoreError> {
        receiver.line(&format!("o {}", file.name))?;
        let size = self.pump(file, |piece| {
            receiver.line(&format!("c {}", piece.len()))?;
            receiver.bytes(piece)
        })?;
        if let Some((mode, modified)) = self.kept(file)? {
            receiver.line(&format!("m {mode:o}"))?;
            receiver.line(&format!("t {}", touch_date(modified)))?;
        }
        receiver.line(&format!("e {size}"))?;
        receiver.answer()
    }

    /// Reads a file of the archive in pieces, and checks that a segment is whole.
    fn pump(
        &self,
        file: &Delivery,
        mut take: impl FnMut(&[u8]) -> Result<(), RestoreError>,
    ) -> Result<u64, RestoreError> {
        let source = &file.file.path;
        let mut reader = self.codec.open_plain(source)?;
        let mut buffer = vec![0; PIECE];
        let mut size = 0;
        let mut header = None;
        loop {
            let count = fill(reader.as_mut(), &mut buffer, source)?;
            let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else {
                break;
            };
            if size == 0 {
                header = SegmentHeader::parse(piece);
            }
            size += count as u64;
            if size > self.limit(file) {
                break;
            }
            self.bandwidth.consume(count);
            take(piece)?;
        }
        if let Some(WalKind::Segment(name)) = WalKind::of(&file.name) {
            self.check_segment(name, header, size, source)?;
        }
        Ok(size)
    }

    /// What a segment says about itself must be true. (One that says nothing is left to PostgreSQL to judge.)
    fn check_segment(
        &self,
        name: SegmentName,
        header: Option<SegmentHeader>,
        size: u64,
        source: &Path,
    ) -> Result<(), RestoreError> {
        let expected = header.map_or(self.segment_size, |header| u64::from(header.segment_size));
        if size == 0 || (header.is_some() && size != expected) {
            return Err(RestoreError::Damaged {
                path: source.to_path_buf(),
                found: size,
                expected,
            });
        }
        let Some(header) = header else {
            log::warn!(target: "barman.recovery_executor", "\"{}\" does not begin like a WAL segment", source.display());
            return Ok(());
        };
        let own_cluster = self
            .system_identifier
            .is_none_or(|identifier| identifier == header.system_identifier);
        if header.belongs_to(name) && own_cluster {
            return Ok(());
        }
        Err(RestoreError::Foreign {
            path: source.to_path_buf(),
            what: if own_cluster {
                "another segment"
            } else {
                "a segment of another cluster"
            },
        })
    }

    /// No file of the WAL is larger than a segment.
    fn limit(&self, file: &Delivery) -> u64 {
        match WalKind::of(&file.name) {
            Some(WalKind::Segment(_)) => self.segment_size,
            _ => self.segment_size.max(super::timelines::LARGEST_HISTORY),
        }
    }

    /// Permissions and time of a file that the archive keeps as PostgreSQL wrote it; a decompressed one is a new file
    /// (as with Barman).
    fn kept(&self, file: &Delivery) -> Result<Option<(u32, SystemTime)>, RestoreError> {
        let stored = self.codec.detector().inspect(&file.file.path)?;
        if stored.compression.is_some() || stored.encrypted {
            return Ok(None);
        }
        let metadata = fs::metadata(&file.file.path).at("inspect", &file.file.path)?;
        Ok(Some((metadata.permissions().mode() & 0o777, file.file.modified)))
    }
}

fn fill(reader: &mut dyn Read, buffer: &mut [u8], source: &Path) -> Result<usize, PathError> {
    let mut count = 0;
    while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PathError::new("read", source, error)),
        }
    }
    Ok(count)
}

/// The shell loop on the other host.
struct Receiver {
    channel: Channel,
    answers: BufReader<std::io::PipeReader>,
    host: String,
    directory: PathBuf,
}

impl Receiver {
    fn open(destination: &Destination, directory: &Path) -> Result<Receiver, RestoreError> {
        let script = RECEIVER
            .replace("DIRECTORY", &shown(directory))
            .replace("PREFIX", TEMPORARY_PREFIX);
        let remote = destination.remote();
        let channel = remote.open(&format!("sh -c {}", quote(&script)))?;
        let answers = BufReader::new(channel.output.try_clone().at("open a channel to", directory)?);
        Ok(Receiver {
            channel,
            answers,
            host: remote.describe(),
            directory: directory.to_path_buf(),
        })
    }

    fn line(&mut self, line: &str) -> Result<(), RestoreError> {
        self.bytes(format!("{line}\n").as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        match self.channel.input.write_all(bytes) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failure(&error.to_string())),
        }
    }

    fn answer(&mut self) -> Result<(), RestoreError> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(_) if line == "ok\n" => Ok(()),
            Ok(0) => Err(self.failure("the connection was closed")),
            Ok(_) => Err(self.failure(&format!("unexpected answer: {}", line.trim_end()))),
            Err(error) => Err(self.failure(&error.to_string())),
        }
    }

    /// What the other side said is worth more than what this side saw.
    fn failure(&mut self, seen: &str) -> RestoreError {
        let mut said = String::new();
        if let Err(error) = (&mut self.channel.errors)
            .take(64 * 1024)
            .read_to_string(&mut said)
        {
            log::debug!(target: "barman.recovery_executor", "no error text from {}: {error}", self.host);
        }
        RestoreError::Remote {
            host: self.host.clone(),
            action: "write WAL files to",
            path: self.directory.clone(),
            message: match said.trim() {
                "" => seen.to_owned(),
                text => text.to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::report::NoProgress;
    use crate::codec::{Compression, Level};
    use crate::postgres::wal_header::sample_header;
    use crate::recovery::archived::ArchivedFile;

    const MIB: usize = 1024 * 1024;
    const NAME: &str = "00000001000000000000000A";

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn scratch(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("barkeep-delivery-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("to")).unwrap();
        Scratch(path)
    }

    fn segment(of: &str) -> Vec<u8> {
        let mut content = sample_header(of, 1 << 20, 7);
        content.resize(MIB, 9);
        content
    }

    fn delivered(scratch: &Scratch, content: &[u8]) -> Result<Vec<u8>, String> {
        let path = scratch.0.join("archived");
        fs::write(&path, content).unwrap();
        let file = Delivery {
            name: NAME.to_owned(),
            file: ArchivedFile {
                name: NAME.to_owned(),
                size: content.len() as u64,
                modified: SystemTime::UNIX_EPOCH,
                path,
            },
        };
        let to = scratch.0.join("to");
        Deliverer {
            destination: &Destination::local(),
            directory: &to,
            codec: &WalCodec::default(),
            segment_size: MIB as u64,
            system_identifier: Some(7),
            bandwidth: &Bandwidth::kib_per_second(None),
            progress: &NoProgress,
        }
        .deliver(&[file], 2)
        .map_err(|error| error.to_string())?;
        Ok(fs::read(to.join(NAME)).unwrap())
    }

    #[test]
    fn whole_segments_arrive_plain() {
        let scratch = scratch("whole");
        let content = segment(NAME);
        assert!(delivered(&scratch, &content).unwrap() == content);
        let metadata = fs::metadata(scratch.0.join("to").join(NAME)).unwrap();
        assert_eq!(metadata.modified().unwrap(), SystemTime::UNIX_EPOCH);
        let plain = scratch.0.join("plain");
        let packed = scratch.0.join("packed");
        fs::write(&plain, &content).unwrap();
        crate::codec::wal::compress_file(&plain, &packed, Compression::Zstd, Level::default()).unwrap();
        assert!(delivered(&scratch, &fs::read(packed).unwrap()).unwrap() == content);
    }

    #[test]
    fn what_is_no_whole_segment_of_this_cluster_is_refused() {
        let scratch = scratch("refused");
        let content = segment(NAME);
        for cut in [0, 4096, MIB - 1] {
            let error = delivered(&scratch, &content[..cut]).unwrap_err();
            assert!(
                error.contains(&format!("{cut} bytes instead of 1048576")),
                "{error}"
            );
        }
        let mut longer = content.clone();
        longer.push(0);
        assert!(delivered(&scratch, &longer).unwrap_err().contains("damaged"));
        let other = segment("00000001000000000000000B");
        assert!(
            delivered(&scratch, &other)
                .unwrap_err()
                .contains("another segment")
        );
        let mut stranger = content;
        stranger[24] = 8;
        assert!(
            delivered(&scratch, &stranger)
                .unwrap_err()
                .contains("another cluster")
        );
        assert_eq!(fs::read_dir(scratch.0.join("to")).unwrap().count(), 0);
    }
}

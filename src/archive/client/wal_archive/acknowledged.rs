//! What the backup host has acknowledged ahead of PostgreSQL's asking.
//!
//! PostgreSQL removes a segment as soon as a call for it returns 0, so a note here is as good as the segment itself.
//! Therefore:
//!
//! * A note is written only after the backup host has said that everything of the delivery is on its disk, and it counts
//!   only if the file that PostgreSQL asks for has that very content (XXH3-128 of all of it). A segment that has been
//!   recycled and written again, a cluster that was restored, reset or replaced at the same place: all have another
//!   content, and are sent.
//! * A note counts for [`VALIDITY`]. While PostgreSQL goes through a backlog it takes a fraction of a second until it asks
//!   for the noted file; afterwards a backup host may have been replaced by one that knows nothing of it, which no
//!   content can tell. Notes of the future do not count: the clock was set.
//! * Notes belong to a way of sending: where ssh leads to, `--config`, the server's name, the directory of the segments.
//!   Whoever changes `archive_command` begins without notes.
//! * Notes that are lost, cut short or altered do no harm: the file ends with a checksum of itself, and without it there
//!   are no notes. The segments are sent again, and a content that the backup host knows is a success.
//! * They lie in a directory that only this user can write to.
//!
//! With them is noted whether the other side understands [`Sums::Xxh128`](crate::archive::sums::Sums), as it said last.
//!
//! One call at a time sends more than it was asked for. Before it does, it notes that the next calls are to send one file
//! each for [`ALONE`]: when it is killed, when the backup host refuses the delivery (no room for many files, something
//! wrong with one of them), or when the notes cannot be written, no call after it sends the same lot again in vain.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::followers::is_done;
use super::hashes::fingerprint;
use super::stream::Sent;
use crate::archive::client::private_directory::PrivateDirectory;
use crate::archive::put_wal::base_name;
use crate::base::durable;
use crate::base::error::PathError;
use crate::base::lock::{LockError, LockFile};
use crate::postgres::wal_name::WalKind;

/// How long a note counts.
const VALIDITY: Duration = Duration::from_secs(120);
/// How long nothing is sent ahead after an attempt that did not come to a good end.
const ALONE: Duration = Duration::from_secs(60);
/// How long a call waits for a note, and how often it looks. A delivery takes ten seconds at most, and what the network is
/// slower than expected.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(3);
/// A backup host that did not understand the quicker checksums is not asked again for this time.
const NOT_UNDERSTOOD: Duration = Duration::from_secs(3600);
/// The first line of the file.
const TITLE: &str = "barman-wal-archive 2";

/// Where the notes are.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    /// The directory that the files are sent from.
    source: PathBuf,
    file: PathBuf,
    lock: PathBuf,
}

/// One note.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    sent: Sent,
    /// When it was acknowledged, in seconds since 1970.
    time: u64,
}

/// The content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Notes {
    /// Until when nothing is sent ahead.
    alone_until: u64,
    /// Whether the other side understands XXH128.
    xxh128: Understands,
    notes: Vec<Note>,
}

/// What the other side makes of something that Barman does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Understands {
    /// It was not asked.
    #[default]
    Unknown,
    Yes,
    /// It did not, and is not asked again before this time.
    NotUntil(u64),
}

/// The right to send ahead, until it is dropped.
#[derive(Debug)]
pub(super) struct Lead<'a> {
    place: &'a Acknowledged,
    notes: Notes,
    _lock: LockFile,
}

impl Acknowledged {
    /// The notes of the calls that send from the directory of `wal_path` along the `way`.
    pub(super) fn of(
        directory: &PrivateDirectory,
        way: &[&[u8]],
        wal_path: &Path,
    ) -> io::Result<Acknowledged> {
        let source = match wal_path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => fs::canonicalize(parent)?,
            _ => fs::canonicalize(".")?,
        };
        let mut key = Xxh3::new();
        for part in way.iter().copied().chain([source.as_os_str().as_encoded_bytes()]) {
            key.update(&(part.len() as u64).to_le_bytes());
            key.update(part);
        }
        let key = key.digest();
        Ok(Acknowledged {
            source,
            file: directory.join(&format!("{key:016x}.sent")),
            lock: directory.join(&format!("{key:016x}.lock")),
        })
    }

    /// Whether the backup host has acknowledged the content that the file has now.
    pub(super) fn holds(&self, path: &Path) -> bool {
        let name = base_name(path);
        let notes = self.read();
        let Some(note) = notes.notes.iter().find(|note| note.sent.name == name) else {
            return false;
        };
        if !note.counts(now()) {
            return false;
        }
        match fingerprint(path) {
            Ok(found) => found == (note.sent.size, note.sent.hash),
            Err(error) => {
                log::debug!("cannot read \"{}\": {error}", path.display());
                false
            }
        }
    }

    /// Waits for as long as another process sends ahead, until it has noted this file. Says whether it has. Only segments are
    /// sent ahead: nothing else need wait.
    pub(super) fn awaits(&self, path: &Path) -> bool {
        if !travels_ahead(path) {
            return false;
        }
        let begun = Instant::now();
        let mut seen = None;
        while begun.elapsed() < PATIENCE {
            match LockFile::owner(&self.lock) {
                Ok(Some(_)) => {}
                _ => return self.holds(path),
            }
            // Every writing of the notes is a new file.
            let now = fs::metadata(&self.file).ok().map(|file| file.ino());
            if seen != now {
                seen = now;
                if self.holds(path) {
                    return true;
                }
            }
            std::thread::sleep(LOOK);
        }
        false
    }

    /// The right to send ahead; `None` while another call has it, or after an attempt that failed.
    ///
    /// # Errors
    /// The notes cannot be written.
    pub(super) fn lead(&self) -> Result<Option<Lead<'_>>, LockError> {
        let lock = match LockFile::try_acquire(&self.lock) {
            Ok(lock) => lock,
            Err(LockError::Busy { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let now = now();
        let mut notes = self.read();
        // A pause that ends later than any could begins in the future.
        if (now..=now + ALONE.as_secs()).contains(&notes.alone_until) {
            return Ok(None);
        }
        notes.notes.retain(|note| note.counts(now));
        notes.alone_until = now + ALONE.as_secs();
        durable::write(&self.file, notes.text().as_bytes()).map_err(LockError::Io)?;
        Ok(Some(Lead {
            place: self,
            notes,
            _lock: lock,
        }))
    }

    fn read(&self) -> Notes {
        match fs::read_to_string(&self.file) {
            Ok(text) => Notes::parse(&text).unwrap_or_default(),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    log::debug!("cannot read \"{}\": {error}", self.file.display());
                }
                Notes::default()
            }
        }
    }
}

impl Lead<'_> {
    /// Whether the other side understands XXH128; `None` when it may be asked.
    pub(super) fn knows_xxh128(&self) -> Option<bool> {
        match self.notes.xxh128 {
            Understands::Unknown => None,
            Understands::Yes => Some(true),
            Understands::NotUntil(time) => (now()..=now() + NOT_UNDERSTOOD.as_secs())
                .contains(&time)
                .then_some(false),
        }
    }

    /// Notes that with the next [`Lead::record`].
    pub(super) fn set_knows_xxh128(&mut self, knows: bool) {
        self.notes.xxh128 = if knows {
            Understands::Yes
        } else {
            Understands::NotUntil(now() + NOT_UNDERSTOOD.as_secs())
        };
    }

    /// Notes what the backup host has acknowledged. With `more` the lead is kept for another delivery, and the pause that
    /// its failure would bring stays noted.
    pub(super) fn record(&mut self, sent: &[Sent], more: bool) -> Result<(), PathError> {
        let time = now();
        self.notes
            .notes
            .retain(|note| sent.iter().all(|new| new.name != note.sent.name));
        self.notes.notes.extend(sent.iter().map(|sent| Note {
            sent: sent.clone(),
            time,
        }));
        // Of what PostgreSQL has taken notice of nothing needs to be known any more.
        let source = &self.place.source;
        self.notes
            .notes
            .retain(|note| note.counts(time) && !is_done(&source.join(&note.sent.name)));
        self.notes.alone_until = if more { time + ALONE.as_secs() } else { 0 };
        durable::write(&self.place.file, self.notes.text().as_bytes())
    }
}

impl Note {
    fn counts(&self, now: u64) -> bool {
        now.checked_sub(self.time)
            .is_some_and(|age| age <= VALIDITY.as_secs())
    }

    fn parse(line: &str) -> Option<Note> {
        let mut words = line.split(' ');
        let note = Note {
            sent: Sent {
                name: words.next()?.to_owned(),
                size: words.next()?.parse().ok()?,
                hash: u128::from_str_radix(words.next()?, 16).ok()?,
            },
            time: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(note)
    }
}

impl Notes {
    fn text(&self) -> String {
        let xxh128 = match self.xxh128 {
            Understands::Unknown => "unknown".to_owned(),
            Understands::Yes => "yes".to_owned(),
            Understands::NotUntil(time) => time.to_string(),
        };
        let mut text = format!("{TITLE}\nalone {}\nxxh128 {xxh128}\n", self.alone_until);
        for Note { sent, time } in &self.notes {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {} {:032x} {time}", sent.name, sent.size, sent.hash);
        }
        let sum = xxh3_64(text.as_bytes());
        let _ = writeln!(text, "end {sum:016x}");
        text
    }

    /// `None` unless the text is exactly what was written.
    fn parse(text: &str) -> Option<Notes> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once("\nend ")?;
        let body_length = body.len() + 1;
        if sum != format!("{:016x}", xxh3_64(text.get(..body_length)?.as_bytes())) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != TITLE {
            return None;
        }
        Some(Notes {
            alone_until: lines.next()?.strip_prefix("alone ")?.parse().ok()?,
            xxh128: match lines.next()?.strip_prefix("xxh128 ")? {
                "unknown" => Understands::Unknown,
                "yes" => Understands::Yes,
                time => Understands::NotUntil(time.parse().ok()?),
            },
            notes: lines.map(Note::parse).collect::<Option<_>>()?,
        })
    }
}

fn travels_ahead(path: &Path) -> bool {
    matches!(WalKind::of(&base_name(path)), Some(WalKind::Segment(_)))
}

/// Seconds since 1970.
fn now() -> u64 {
    UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::sandbox::{Sandbox, segment};
    use proptest::prelude::*;

    const NAME: &str = "000000010000000000000002";

    fn place(sandbox: &Sandbox, way: &str) -> (Acknowledged, PathBuf) {
        let directory = PrivateDirectory::prepare(&sandbox.root.join("private")).unwrap();
        let path = sandbox.write(&format!("pg_wal/{NAME}"), &segment(NAME, 1));
        (
            Acknowledged::of(&directory, &[way.as_bytes()], &path).unwrap(),
            path,
        )
    }

    fn sent(path: &Path) -> Sent {
        let (size, hash) = fingerprint(path).unwrap();
        Sent {
            name: base_name(path),
            size,
            hash,
        }
    }

    #[test]
    fn only_the_acknowledged_content_counts() {
        let sandbox = Sandbox::new();
        let (place, path) = place(&sandbox, "a");
        assert!(!place.holds(&path));
        place
            .lead()
            .unwrap()
            .unwrap()
            .record(&[sent(&path)], false)
            .unwrap();
        assert!(place.holds(&path));
        // Another way, and another directory with the same content.
        assert!(!self::place(&sandbox, "b").0.holds(&path));
        let elsewhere = sandbox.write(&format!("other/{NAME}"), &segment(NAME, 1));
        let directory = PrivateDirectory::prepare(&sandbox.root.join("private")).unwrap();
        assert!(
            !Acknowledged::of(&directory, &[b"a"], &elsewhere)
                .unwrap()
                .holds(&elsewhere)
        );
        // Recycled, and written again: by one byte, in the middle.
        let mut content = segment(NAME, 1);
        content[700_000] ^= 1;
        fs::write(&path, content).unwrap();
        assert!(!place.holds(&path));
        fs::remove_file(&path).unwrap();
        assert!(!place.holds(&path));
    }

    #[test]
    fn a_call_waits_for_what_another_sends() {
        let sandbox = Sandbox::new();
        let (place, path) = place(&sandbox, "a");
        // Nobody sends.
        assert!(!place.awaits(&path));
        let mut lead = place.lead().unwrap().unwrap();
        let both = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                both.wait();
                lead.record(&[sent(&path)], true).unwrap();
                drop(lead);
            });
            both.wait();
            assert!(place.awaits(&path));
        });
        // A sender that was killed while there was more.
        assert!(place.lead().unwrap().is_none());
    }

    #[test]
    fn only_segments_are_waited_for() {
        assert!(travels_ahead(Path::new("pg_wal").join(NAME).as_path()));
        for other in ["00000002.history", "000000010000000000000002.00000028.backup"] {
            assert!(!travels_ahead(Path::new(other)), "{other}");
        }
    }

    fn note(time: u64) -> Note {
        Note {
            sent: Sent {
                name: NAME.to_owned(),
                size: 1 << 24,
                hash: 77,
            },
            time,
        }
    }

    #[test]
    fn notes_grow_old_and_clocks_are_set() {
        let note = note(1000);
        assert!(note.counts(1000) && note.counts(1120));
        assert!(!note.counts(1121) && !note.counts(999));
    }

    #[test]
    fn one_leads_and_a_failed_attempt_is_not_repeated_at_once() {
        let sandbox = Sandbox::new();
        let (place, path) = place(&sandbox, "a");
        let lead = place.lead().unwrap().unwrap();
        assert!(place.lead().unwrap().is_none());
        drop(lead);
        // It never recorded anything.
        assert!(place.lead().unwrap().is_none());
        fs::remove_file(&place.file).unwrap();
        place
            .lead()
            .unwrap()
            .unwrap()
            .record(&[sent(&path)], false)
            .unwrap();
        assert!(place.lead().unwrap().is_some());
        // A pause from a clock that has been set back since.
        let far = Notes {
            alone_until: now() + 10_000,
            ..Notes::default()
        };
        fs::write(&place.file, far.text()).unwrap();
        assert!(place.lead().unwrap().is_some());
    }

    proptest! {
        #[test]
        fn damaged_notes_are_no_notes(position in 0usize..200, value in any::<u8>(), length in 0usize..200) {
            let notes = Notes {
                alone_until: 5,
                xxh128: Understands::NotUntil(1_795_212_267),
                notes: vec![note(1_795_208_667)],
            };
            let good = notes.text();
            prop_assert_eq!(Notes::parse(&good), Some(notes.clone()));
            let mut bytes = good.clone().into_bytes();
            bytes.truncate(length);
            if let Some(byte) = bytes.get_mut(position) {
                *byte = value;
            }
            if let Ok(text) = String::from_utf8(bytes)
                && text != good
            {
                prop_assert_eq!(Notes::parse(&text), None);
            }
        }
    }
}

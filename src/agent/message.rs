//! What the two sides say to each other.
//!
//! Requests are answered in their order, and many may be under way. Every answer ends with exactly one *final* response:
//! anything but [`Response::Entries`], [`Response::Same`], [`Response::Zeros`], [`Response::Delta`], [`Response::Changed`],
//! [`Response::InWhole`] and data frames.
//! Paths are bytes, as the file system has them; absolute in requests, relative in [`Entry`].

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use crate::postgres::page_sum::PageSum;

/// The version of this protocol: both sides must have the same.
pub const VERSION: u32 = 2;
/// What precedes the first frame of the agent, after whatever a login shell printed: this, the version, a newline.
pub const BANNER: &[u8] = b"\nBARKEEP-AGENT ";
/// Bytes of a page hash (128 bits, little-endian).
pub const HASH_SIZE: usize = PageSum::BYTES;
/// Bytes of file content that one frame carries at most.
pub const CHUNK: usize = 256 << 10;
/// Bytes that rolling deltas look at together.
pub const ROLLING_WINDOW: usize = 1 << 20;

/// A path of the wire as a path of this host.
pub(super) fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// A path of this host as bytes for the wire.
pub fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// What the near side asks for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Opens the conversation: [`Response::Hello`].
    Hello {
        /// [`VERSION`] of the near side.
        version: u32,
        /// Compress data frames.
        compress: bool,
    },
    /// Lists a tree: [`Response::Entries`]…, [`Response::Listed`].
    List {
        /// Its root.
        root: Vec<u8>,
        /// What to leave out.
        filter: Filter,
        /// Follow symbolic links (rsync's `-L`).
        follow: bool,
    },
    /// Reads a file: spans in the order of the file, then [`Response::Fetched`]. For [`FetchMode::Pages`] and
    /// [`FetchMode::Rolling`] data frames about the old file follow this request, ended by [`Request::BaseEnd`]. For
    /// [`FetchMode::Blocks`] the answer begins with [`Response::Changed`] or [`Response::InWhole`]; frames about the old
    /// file follow the request when it has no position.
    Fetch {
        /// The file.
        path: Vec<u8>,
        /// What to send of it.
        mode: FetchMode,
        /// Verify page checksums.
        checks: Option<Checks>,
    },
    /// The old file of the fetch or put before has been described to its end.
    BaseEnd,
    /// Creates a directory, with its parents if `parents`: [`Response::Done`]. One that exists is fine.
    MakeDirectory {
        /// The directory.
        path: Vec<u8>,
        /// Permissions of directories that are created.
        mode: u32,
        /// Create missing parents.
        parents: bool,
    },
    /// Writes a file: data frames, [`Request::Seek`] and finally [`Request::PutEnd`] follow; [`Response::Stored`].
    Put {
        /// The file.
        path: Vec<u8>,
        /// Keep the content that is there and change it in place; else a new file replaces what is there.
        patch: bool,
    },
    /// Leaves out this many bytes of the file being put: of what is there already, or zeros in a new file.
    Seek {
        /// How many.
        bytes: u64,
    },
    /// Ends the file being put.
    PutEnd {
        /// Its size.
        size: u64,
        /// Its attributes.
        attributes: Attributes,
    },
    /// Hashes the pages of a file: data frames, then [`Response::Fetched`].
    PageHashes {
        /// The file.
        path: Vec<u8>,
    },
    /// Sets permissions and time of a directory or file: [`Response::Done`].
    SetAttributes {
        /// What.
        path: Vec<u8>,
        /// To what.
        attributes: Attributes,
    },
    /// Creates a symbolic link, replacing a link: [`Response::Done`].
    Symlink {
        /// Where it points.
        target: Vec<u8>,
        /// The link.
        path: Vec<u8>,
    },
    /// Removes a file, link, or empty directory, or with `recursive` a whole tree: [`Response::Done`]. Nothing there is fine.
    Remove {
        /// What.
        path: Vec<u8>,
        /// With everything in it.
        recursive: bool,
    },
    /// Renames, durably: [`Response::Done`].
    Rename {
        /// The old name.
        from: Vec<u8>,
        /// The new name.
        to: Vec<u8>,
    },
    /// Looks at a path without following a link: [`Response::Look`].
    Look {
        /// The path.
        path: Vec<u8>,
    },
    /// The names in a directory: [`Response::Names`].
    Names {
        /// The directory.
        path: Vec<u8>,
        /// Stop after this many (in no order), which is no error; `None` for all, sorted.
        most: Option<u32>,
    },
    /// A whole small file: data frames, then [`Response::Done`].
    Read {
        /// The file.
        path: Vec<u8>,
        /// Refuse files longer than this.
        limit: u64,
    },
    /// Replaces a small file atomically and durably by the data frame that follows: [`Response::Done`].
    Write {
        /// The file.
        path: Vec<u8>,
        /// Its permissions.
        mode: u32,
    },
    /// Free bytes on a file system: [`Response::Free`].
    FreeBytes {
        /// Any path of it.
        path: Vec<u8>,
    },
    /// Makes everything put so far durable, and these directories: [`Response::Done`].
    Sync {
        /// Directories to sync.
        directories: Vec<Vec<u8>>,
    },
}

/// How a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FetchMode {
    /// Its whole content.
    Whole,
    /// Nothing of it, only its hash.
    HashOnly,
    /// The pages that differ from the hashes that follow ([`PageSum::of_page`]).
    Pages,
    /// The changed blocks of a relation file, named first.
    Blocks(Since),
    /// Rolling deltas against the signatures that follow, one data frame for each [`ROLLING_WINDOW`].
    Rolling,
}

/// What changed blocks are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// Pages with an LSN from here on have changed, and those that were never initialised; `None`: those that differ from
    /// the hashes that follow ([`PageSum::of_page`]).
    pub lsn: Option<u64>,
    /// Blocks of the old file: all after them are new.
    pub blocks: u32,
    /// After so many blocks, pages of zeros need not be named (at least `blocks`).
    pub longest: u32,
}

/// Which page checksums to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// Pages with an LSN from here on are being changed.
    pub start: u64,
    /// The number of the file's first page within its relation.
    pub first_block: u32,
}

/// Permissions and time of last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// Time of last change.
    pub modified: Time,
}

/// Nanoseconds since the epoch, split as `stat(2)` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct Time {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds.
    pub nanoseconds: u32,
}

/// What the agent answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// Ready.
    Hello {
        /// [`VERSION`] of the agent.
        version: u32,
        /// Its process id.
        pid: u32,
        /// Whether its processor has AES instructions.
        aes: bool,
    },
    /// Some entries of a tree, parents before their children.
    Entries(Vec<Entry>),
    /// The tree has been listed. What could not be followed is named.
    Listed {
        /// Dangling links, sockets and the like.
        skipped: Vec<Vec<u8>>,
    },
    /// The next bytes are those of the old file.
    Same {
        /// How many.
        bytes: u64,
    },
    /// The next bytes are zero.
    Zeros {
        /// How many.
        bytes: u64,
    },
    /// The data frame that follows is a `fast_rsync` delta that makes this many bytes from the old file's window.
    Delta {
        /// How many.
        bytes: u64,
    },
    /// The file has so many blocks, and these of them changed: their numbers follow (32 bits each, little-endian, in data
    /// frames of whole numbers), then their content in the same order, as data frames and [`Response::Zeros`].
    Changed {
        /// Blocks of the file.
        blocks: u32,
        /// How many changed.
        count: u32,
    },
    /// Not worth it, or no file of whole blocks: all of it follows, as data frames and [`Response::Zeros`].
    InWhole,
    /// The file has been read.
    Fetched(Fetched),
    /// The file has been written.
    Stored {
        /// Its size.
        size: u64,
        /// xxh3-128 of the bytes received for it.
        hash: u128,
    },
    /// It is done.
    Done,
    /// What is at a path.
    Look(Option<Entry>),
    /// Names in a directory.
    Names(Vec<Vec<u8>>),
    /// Bytes.
    Free(u64),
    /// It could not be done.
    Failed(Failure),
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Bytes read.
    pub size: u64,
    /// The sum of what was sent.
    pub sum: PageSum,
    /// As they were when the file was opened.
    pub attributes: Attributes,
    /// Pages with wrong checksums (at most [`MAX_CORRUPT`]).
    pub corrupt: Vec<Corrupt>,
}

/// More wrong pages than this of one file are not listed.
pub const MAX_CORRUPT: usize = 1000;

/// A page with a wrong checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrupt {
    /// Its number within the file.
    pub block: u32,
    /// The checksum of its content.
    pub computed: u16,
    /// The checksum it says.
    pub stored: u16,
}

/// A file, directory or link of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative to the root; empty for the root itself.
    pub path: Box<[u8]>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// Permissions and time.
    pub attributes: Attributes,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link (only where links are not followed).
    Symlink,
    /// A socket, device, or pipe.
    Other,
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done: an infinitive that fits after "cannot".
    pub action: String,
    /// To what.
    pub path: Vec<u8>,
    /// The error number, when the operating system gave one.
    pub errno: Option<i32>,
    /// Why, in words.
    pub reason: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "cannot {} \"{}\": {}",
            self.action,
            String::from_utf8_lossy(&self.path),
            self.reason
        )
    }
}

impl From<crate::base::error::PathError> for Failure {
    fn from(error: crate::base::error::PathError) -> Failure {
        use std::os::unix::ffi::OsStrExt;
        Failure {
            action: error.action.to_owned(),
            path: error.path.as_os_str().as_bytes().to_vec(),
            errno: error.source.raw_os_error(),
            reason: crate::base::error::strerror(&error.source),
        }
    }
}

impl Time {
    /// The time of last change in `metadata`.
    #[must_use]
    pub fn modified(metadata: &std::fs::Metadata) -> Time {
        use std::os::unix::fs::MetadataExt;
        Time {
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
        }
    }
}

impl From<Time> for std::time::SystemTime {
    fn from(time: Time) -> Self {
        let whole = std::time::Duration::from_secs(time.seconds.unsigned_abs());
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        let second = if time.seconds < 0 {
            epoch.checked_sub(whole)
        } else {
            epoch.checked_add(whole)
        };
        let part = std::time::Duration::from_nanos(time.nanoseconds.into());
        second
            .and_then(|second| second.checked_add(part))
            .unwrap_or(epoch)
    }
}

impl Attributes {
    /// Permissions and time in `metadata`.
    #[must_use]
    pub fn of(metadata: &std::fs::Metadata) -> Attributes {
        use std::os::unix::fs::MetadataExt;
        Attributes {
            mode: metadata.mode() & 0o7777,
            modified: Time::modified(metadata),
        }
    }

    /// Applies the attributes to an open file or directory.
    ///
    /// # Errors
    /// The file belongs to somebody else, or the file system refuses.
    pub fn apply(self, file: &std::fs::File) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(std::fs::Permissions::from_mode(self.mode))?;
        let time = nix::sys::time::TimeSpec::new(self.modified.seconds, self.modified.nanoseconds.into());
        nix::sys::stat::futimens(file, &nix::sys::time::TimeSpec::UTIME_OMIT, &time)?;
        Ok(())
    }
}

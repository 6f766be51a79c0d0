//! What a worker's two threads say to each other: requests whose answers are due, and why a conversation ended.

use std::fs::File;
use std::time::Instant;

use super::Task;
use super::blocks::Old;
use crate::copy::local::LocalHash;

/// A request whose answer is due.
pub(super) struct Pending {
    pub(super) task: Task,
    pub(super) expect: Expect,
    pub(super) started: Instant,
}

/// What the answer is needed for.
pub(super) enum Expect {
    /// The hash, to be compared with this of the previous backup's file.
    Hash(LocalHash),
    /// Spans of the file, written onto this one, which holds the previous backup's pages already.
    Onto(Basis),
    /// The file.
    Content,
    /// The pages that changed, to be written into this file, which has so many now.
    Patches(Basis, u32),
    /// The blocks that changed since this form of it.
    Blocks(Old),
}

/// A new file that holds the previous backup's pages.
pub(super) struct Basis {
    pub(super) file: File,
    /// Where pages that stay are read: this file, or the previous backup's when they share their blocks.
    pub(super) read_back: File,
}

//! The copy engine: moves the files of a cluster between a host and this one, and proves that they arrived.
//!
//! * [`pull`] takes a base backup: it lists the source through the agent, compares with the previous backup by Barman's
//!   rules, takes what did not change by hard link or local copy, and rebuilds what changed from the previous backup's
//!   file and the changed pages.
//! * [`prepare_push`] and [`PreparedPush::apply`] restore one: the first computes everything that would be done (deletions
//!   included) and the second does exactly that.
//!
//! The engine knows neither configuration nor catalog: everything it needs is in the plan. Where the agent cannot run on
//! the other host, the same plan is carried out by `rsync` on both ends.

pub mod chain;
mod compare;
mod conversation;
mod local;
pub mod packed;
mod page_hashes;
mod plan;
mod previous;
mod pull;
mod push;
mod queue;
pub mod records;
mod report;
mod rsync;
pub mod unpack;
pub mod verify;

pub use crate::agent::ahead::Ahead;
pub use crate::agent::filter::{Filter, Rule};
pub use plan::{
    Attempt, Checksum, CopyItem, CopyPlan, Incremental, ItemContent, Pace, PageChecks, PushItem, PushPlan,
    Records, Resume, Retries, Reuse,
};
pub use report::{BlockReport, CopyReport, CorruptBlock, ItemReport, Method};

use crate::base::report::Reporter;
use crate::transport::Remote;

/// A copy that could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The connection to the other host failed for good.
    #[error(transparent)]
    Transport(#[from] crate::transport::TransportError),
    /// The other host could not do something: the message names the path.
    #[error("{host}: {message}")]
    Remote {
        /// The other host, as its ssh command.
        host: String,
        /// What failed there.
        message: String,
    },
    /// A file of this host could not be read or written.
    #[error(transparent)]
    Path(#[from] crate::base::error::PathError),
    /// A file arrived different from what was read at the source.
    #[error("\"{}\" is not what was read at the source (hash mismatch)", path.display())]
    Mismatch {
        /// The file as written.
        path: std::path::PathBuf,
    },
    /// A file of a chain of backups cannot be put together.
    #[error(transparent)]
    Chain(#[from] chain::ChainError),
    /// A tar file of a backup cannot be read.
    #[error(transparent)]
    Packed(#[from] packed::PackedError),
    /// A manifest is needed and cannot be used.
    #[error(transparent)]
    Manifest(#[from] crate::postgres::manifest::ManifestError),
    /// The tar files of a backup do not hold everything.
    #[error("the backup in \"{}\" does not hold \"{file}\", which its manifest lists", directory.display())]
    NotPacked {
        /// The directory.
        directory: std::path::PathBuf,
        /// The file.
        file: String,
    },
    /// rsync would have to do what only the agent can.
    #[error(
        "the agent cannot run on {host} ({reason}), and without it an incremental backup or one in tar files cannot be restored \
         there. \
         Restore it into a directory of this host, and copy that"
    )]
    NeedsAgent {
        /// The other host, as its ssh command.
        host: String,
        /// Why the agent cannot run.
        reason: String,
    },
    /// An incremental copy needs the agent.
    #[error(
        "the agent cannot run on the source ({reason}), and without it no incremental backup can be taken. Take a full \
         backup, which rsync can copy"
    )]
    SourceNeedsAgent {
        /// Why it cannot run.
        reason: String,
    },
    /// rsync failed.
    #[error("rsync failed with return code {code} for {item}: {stderr}")]
    Rsync {
        /// The item that was being copied.
        item: String,
        /// rsync's exit code.
        code: i32,
        /// What rsync said.
        stderr: String,
    },
    /// The agent could not do something, or the conversation with it broke.
    #[error(transparent)]
    Agent(#[from] crate::agent::connection::AgentError),
    /// The work was asked to stop.
    #[error(transparent)]
    Interrupted(#[from] crate::base::interrupt::Interrupted),
}

/// Takes the files of `plan` from `source` (the host of the cluster; [`Remote::local`] for `local-rsync`) into the backup.
///
/// All items are copied in parallel; items of [`ItemContent::Control`] follow when everything else has arrived. When this
/// returns `Ok`, every file and directory of the backup is on disk.
///
/// # Errors
/// What could not be read, written, verified or reached; files already complete stay in place.
pub fn pull<'a>(
    plan: &CopyPlan,
    source: impl Into<Source<'a>>,
    reporter: &dyn Reporter,
) -> Result<CopyReport, CopyError> {
    // Whatever broke when the process was asked to stop: that is the reason.
    pull::pull(plan, source.into(), reporter).map_err(|error| match crate::base::interrupt::check() {
        Ok(()) => error,
        Err(interrupted) => interrupted.into(),
    })
}

/// The host that files are taken from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    remote: &'a Remote,
    /// Conversations with its agent that were begun already.
    ahead: Option<&'a Ahead>,
}

impl<'a> From<&'a Remote> for Source<'a> {
    fn from(remote: &'a Remote) -> Source<'a> {
        Source { remote, ahead: None }
    }
}

impl<'a> From<&'a Ahead> for Source<'a> {
    fn from(ahead: &'a Ahead) -> Source<'a> {
        Source {
            remote: ahead.remote(),
            ahead: Some(ahead),
        }
    }
}

/// What a restore would do, computed and not yet done.
#[derive(Debug)]
pub struct PreparedPush<'a> {
    /// Files and directories of the destination that would be removed (delta restore only), absolute, in order.
    pub deletions: Vec<std::path::PathBuf>,
    /// Files to look at.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The agent's refusal, when rsync is used instead.
    pub fallback_reason: Option<String>,
    work: push::Work,
    plan: &'a PushPlan,
    destination: &'a Remote,
}

/// Computes what restoring `plan` onto `destination` would do, without changing anything.
///
/// # Errors
/// The source or the destination cannot be listed.
pub fn prepare_push<'a>(
    plan: &'a PushPlan,
    destination: &'a Remote,
    reporter: &dyn Reporter,
) -> Result<PreparedPush<'a>, CopyError> {
    push::prepare(plan, destination, reporter)
}

impl PreparedPush<'_> {
    /// Does what was prepared. When this returns `Ok`, everything is on disk at the destination.
    ///
    /// # Errors
    /// What could not be read, written, verified or reached.
    pub fn apply(self, reporter: &dyn Reporter) -> Result<CopyReport, CopyError> {
        push::apply(self, reporter)
    }
}

//! The same copies by `rsync` on both ends, for hosts that cannot run the agent, with the options that Barman uses.
//!
//! Slower, and without page checksums or hashes of our own; rsync verifies what it transfers by itself.

mod command;
mod pull;
mod push;

pub(super) use pull::pull;
pub(super) use push::{deletions, push};

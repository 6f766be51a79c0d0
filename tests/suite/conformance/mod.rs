//! The same command through real Barman and through barkeep, on copies of one catalog.
//!
//! Compared are standard output, standard error, the exit code, the environment seen by hooks, and the catalog and the
//! restore destination afterwards. Only what cannot be equal is made equal first ([`normalise`]).
//!
//! A case that is meant to deviate says so itself ([`Case::differs`]): it names a bullet of
//! `tests/conformance/differences.md` and turns Barman's outcome into the one that barkeep must have. Most cases are those of the
//! table ([`table`]): every command in many states; their intended differences are rules ([`verdict`]).

mod cases_archive;
mod cases_catalog;
mod cases_chains;
mod cases_command_line;
mod cases_delete;
mod cases_live;
mod cases_restore;
mod cases_streaming;
mod fixture;
mod help;
mod live;
pub mod normalise;
mod outcome;
mod runner;
mod states;
mod table;
mod tarballs;
mod verdict;
mod volatile;

pub use fixture::Fixtures;
pub use runner::trials;

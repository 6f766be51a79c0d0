//! The ground everything stands on: errors with paths, durable writes, locks, processes, sizes and durations.

pub mod bandwidth;
pub mod calendar;
pub mod directory;
pub mod durable;
pub mod duration;
pub mod error;
pub mod float;
pub mod host;
pub mod interrupt;
pub mod json;
pub mod lock;
pub mod output_lines;
pub mod parallel;
pub mod process;
pub mod python_repr;
pub mod report;
pub mod shell;
pub mod size;
pub mod sys;
pub mod writeback;

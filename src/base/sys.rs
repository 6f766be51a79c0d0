//! System calls that no safe crate offers. The only unsafe code besides the libpq binding lives here; each block says
//! why it is sound.

#![allow(unsafe_code)]

use std::path::Path;

/// Sets `HOME` for this process and its children: ssh and libpq look for the user's files there.
///
/// Only for the start of the program, before it has a second thread.
pub fn set_home(home: &Path) {
    // SAFETY: the environment is not thread-safe; this runs while the program has one thread.
    unsafe { std::env::set_var("HOME", home) }
}

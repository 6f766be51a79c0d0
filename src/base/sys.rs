//! System calls that no safe crate offers. The only unsafe code besides the libpq binding lives here; each block says
//! why it is sound.

#![allow(unsafe_code)]

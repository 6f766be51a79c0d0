//! What a deletion removes.

pub fn same_files_remain() {}

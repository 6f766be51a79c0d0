//! Catalogs for the tests of whatever works on them.
#![allow(clippy::unwrap_used)]

use std::fs;

use super::{Catalog, WalEntry};

/// Puts a small WAL file into the archive and into its database.
pub(crate) fn archive(catalog: &Catalog, name: &str) {
    let path = catalog.layout().wal_path(name).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "wal").unwrap();
    let entry = WalEntry {
        name: name.to_owned(),
        size: 3,
        time: 1.0,
        compression: None,
        encryption: None,
    };
    catalog.xlogdb().append(&[entry]).unwrap();
}

//! A large catalog: many backups and a long WAL database, and only what lists of them need.

use std::fmt::Write as _;

use super::catalog::{Backup, ServerCatalog, give_to};
use super::manager::Manager;

/// Size of each WAL file in the database.
pub const SIZE: u64 = 1024;

/// The name of a segment of timeline 1.
pub fn segment(number: u32) -> String {
    format!("00000001{:08X}{:08X}", number / 256, number % 256)
}

/// Makes the server `main` with the information files of its backups and its database, and no data. Backup n begins and
/// ends in segment n * (lines / backups).
pub fn create(manager: &Manager, backups: u32, lines: u32) {
    let server = ServerCatalog::create(&manager.home(), "main");
    let step = lines / backups;
    for n in 0..backups {
        let id = format!("2023{:02}{:02}T{:02}0000", 1 + n / 28, 1 + n % 28, n % 24);
        let wal = segment(n * step);
        let text = Backup::done("20230101T000000", 1, 1).info("main");
        let text = text.replace("000000010000000000000001", &wal);
        std::fs::write(server.directory.join(format!("meta/{id}-backup.info")), text).unwrap();
        std::fs::create_dir(server.directory.join("base").join(&id)).unwrap();
    }
    let mut database = String::new();
    for n in 0..lines {
        let _ = writeln!(
            database,
            "{}\t{SIZE}\t{}.25\tgzip\tNone",
            segment(n),
            1_672_531_200 + n
        );
    }
    std::fs::write(server.directory.join("wals/main-xlog.db"), database).unwrap();
    give_to(&manager.home(), &manager.account);
}

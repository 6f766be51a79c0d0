//! The programs of the PostgreSQL host: `barman-wal-archive` and `barman-wal-restore`.

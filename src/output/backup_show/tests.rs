//! `show-backup` as Barman shows the same backups.

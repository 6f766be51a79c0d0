//! Whether the options `backup_compression*` fit together, and whether `pg_basebackup` and the server can do what they ask for
//! (configuration reference §4.3).

use super::choices::{BackupCompression, BackupCompressionFormat, BackupCompressionLocation};
use super::options::ServerConfig;

/// The first version that compresses on the server, by other algorithms than gzip, and with these words.
const MODERN: u32 = 15;

/// Levels of Zstandard.
const ZSTD_LEVELS: std::ops::RangeInclusive<i64> = -131_072..=22;

/// The major versions of both ends of a base backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// That of `pg_basebackup`.
    pub client: u32,
    /// That of the server.
    pub server: u32,
}

impl ServerConfig {
    /// What disables the server: its messages, and what only the versions of `pg_basebackup` and of the server tell.
    #[must_use]
    pub fn messages_between(&self, ends: Ends) -> Vec<String> {
        let known = issues(self, None);
        let mut all: Vec<String> = self
            .msg_list
            .iter()
            .filter(|message| !known.contains(message))
            .cloned()
            .collect();
        all.extend(issues(self, Some(ends)));
        all
    }
}

/// What is wrong with the options, in Barman's order and words; without `ends`, what is wrong with any versions.
pub(super) fn issues(server: &ServerConfig, ends: Option<Ends>) -> Vec<String> {
    let Some(compression) = server.backup_compression else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let on_server = server.backup_compression_location == Some(BackupCompressionLocation::Server);
    if let (true, Some(ends)) = (on_server, ends) {
        if ends.client < MODERN {
            found
                .push("backup_compression_location = server requires pg_basebackup 15 or greater".to_owned());
        }
        if ends.server < MODERN {
            found.push("backup_compression_location = server requires PostgreSQL 15 or greater".to_owned());
        }
    }
    if server.backup_compression_format == Some(BackupCompressionFormat::Plain) && !on_server {
        let location = server
            .backup_compression_location
            .map_or("None", BackupCompressionLocation::keyword);
        found.push(format!(
            "backup_compression_format plain is not compatible with backup_compression_location {location}"
        ));
    }
    let is_new = matches!(compression, BackupCompression::Lz4 | BackupCompression::Zstd);
    if is_new && ends.is_some_and(|ends| ends.client < MODERN) {
        found.push(format!(
            "backup_compression = {} requires pg_basebackup 15 or greater",
            compression.keyword()
        ));
    }
    found.extend(level(compression, server.backup_compression_level, ends));
    found.extend(workers(compression, server.backup_compression_workers));
    found
}

fn level(compression: BackupCompression, level: Option<i64>, ends: Option<Ends>) -> Option<String> {
    let level = level?;
    let unsupported = |expected: &str| {
        format!("backup_compression_level {level} unsupported by compression algorithm. {expected}")
    };
    match compression {
        BackupCompression::Gzip => {
            const EXPECTED: &str =
                "gzip expects a compression level between 1 and 9 (-1 will use default compression level).";
            match level {
                -1 | 1..=9 => None,
                // Until version 14 it means a plain tar.
                0 if ends.is_none_or(|ends| ends.client < MODERN) => None,
                0 => Some(unsupported(&format!(
                    "{EXPECTED}\nIf you need to create an archive not compressed, you should set `backup_compression = none`."
                ))),
                _ => Some(unsupported(EXPECTED)),
            }
        }
        BackupCompression::Lz4 => (!(0..=12).contains(&level)).then(|| {
            unsupported("lz4 expects a compression level between 1 and 12 (0 will use default compression level).")
        }),
        BackupCompression::Zstd => (!ZSTD_LEVELS.contains(&level)).then(|| {
            unsupported(
                "'zstd' expects a compression level between -131072 and 22 (3 will use default compression level).",
            )
        }),
        BackupCompression::None => {
            (level != 0).then(|| "backup_compression none only supports backup_compression_level 0.".to_owned())
        }
    }
}

fn workers(compression: BackupCompression, workers: Option<i64>) -> Option<String> {
    let workers = workers?;
    match compression {
        BackupCompression::Gzip => {
            Some("backup_compression_workers is not compatible with compression gzip".to_owned())
        }
        BackupCompression::Lz4 => {
            Some("backup_compression_workers is not compatible with compression lz4.".to_owned())
        }
        BackupCompression::None => {
            Some("backup_compression_workers is not compatible with compression 'none'.".to_owned())
        }
        BackupCompression::Zstd => (workers < 0).then(|| {
            format!("backup_compression_workers should be a positive integer: '{workers}' is invalid.")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(compression: BackupCompression) -> ServerConfig {
        ServerConfig {
            backup_compression: Some(compression),
            ..ServerConfig::default()
        }
    }

    const NEW: Ends = Ends {
        client: 17,
        server: 17,
    };
    const OLD: Ends = Ends {
        client: 13,
        server: 13,
    };

    #[test]
    fn versions_decide_in_barmans_order() {
        let mut config = server(BackupCompression::Lz4);
        config.backup_compression_location = Some(BackupCompressionLocation::Server);
        config.backup_compression_format = Some(BackupCompressionFormat::Plain);
        assert_eq!(issues(&config, None), [] as [&str; 0]);
        assert_eq!(issues(&config, Some(NEW)), [] as [&str; 0]);
        assert_eq!(
            issues(&config, Some(OLD)),
            [
                "backup_compression_location = server requires pg_basebackup 15 or greater",
                "backup_compression_location = server requires PostgreSQL 15 or greater",
                "backup_compression = lz4 requires pg_basebackup 15 or greater"
            ]
        );
        config.msg_list = vec!["another".to_owned()];
        assert_eq!(config.messages_between(OLD).len(), 4);
        assert_eq!(config.messages_between(NEW), ["another"]);
    }

    #[test]
    fn levels_and_workers() {
        let told = |compression, level, workers, ends| {
            let mut config = server(compression);
            config.backup_compression_level = level;
            config.backup_compression_workers = workers;
            issues(&config, ends).len()
        };
        for (compression, level, workers, expected) in [
            (BackupCompression::Gzip, Some(-1), None, 0),
            (BackupCompression::Gzip, Some(10), Some(0), 2),
            (BackupCompression::Lz4, Some(0), None, 0),
            (BackupCompression::Lz4, Some(13), Some(0), 2),
            (BackupCompression::Zstd, Some(-131_072), Some(0), 0),
            (BackupCompression::Zstd, Some(23), Some(-1), 2),
            (BackupCompression::None, Some(0), None, 0),
            (BackupCompression::None, Some(1), Some(1), 2),
        ] {
            let found = told(compression, level, workers, Some(NEW));
            assert_eq!(found, expected, "{} {level:?}", compression.keyword());
            assert_eq!(told(compression, level, workers, None), expected);
        }
        assert_eq!(told(BackupCompression::Gzip, Some(0), None, Some(NEW)), 1);
        assert_eq!(told(BackupCompression::Gzip, Some(0), None, Some(OLD)), 0);
        assert_eq!(told(BackupCompression::Gzip, Some(0), None, None), 0);
    }

    #[test]
    fn plain_files_are_compressed_by_the_server_only() {
        let mut config = server(BackupCompression::Gzip);
        config.backup_compression_format = Some(BackupCompressionFormat::Plain);
        assert_eq!(
            issues(&config, None),
            ["backup_compression_format plain is not compatible with backup_compression_location None"]
        );
        config.backup_compression = None;
        assert_eq!(issues(&config, None), [] as [&str; 0]);
    }
}

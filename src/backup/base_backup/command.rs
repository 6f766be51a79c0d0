//! The command line of `pg_basebackup`, as Barman's (behaviour reference §8).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::catalog::{BackupInfo, Catalog};
use crate::config::{BackupCompression, BackupCompressionFormat, BackupCompressionLocation, ServerConfig};
use crate::postgres::conninfo::{self, InvalidConninfo};

/// The first version with `--compress=METHOD:DETAIL`.
const DETAILED: u32 = 15;

/// What is run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub(super) arguments: Vec<OsString>,
    /// Everybody on this host can read arguments: this goes into the environment.
    pub(super) password: Option<String>,
}

/// The arguments for a program of major version `client`. `parent_manifest` makes the backup an incremental one.
pub(super) fn command_line(
    config: &ServerConfig,
    catalog: &Catalog,
    info: &BackupInfo,
    client: u32,
    parent_manifest: Option<&Path>,
) -> Result<CommandLine, InvalidConninfo> {
    let conninfo = config.streaming_conninfo.as_deref().unwrap_or_default();
    let (shown, password) = conninfo::without_secrets(&conninfo::for_replication(conninfo)?)?;
    let name = (
        "application_name".to_owned(),
        config.streaming_backup_name.clone(),
    );
    let name = conninfo::keyword_value(std::iter::once(name));
    let layout = catalog.layout();
    let mut arguments: Vec<OsString> = vec![
        format!("--dbname={shown} {name}").into(),
        "-v".into(),
        "--no-password".into(),
        with_path("--pgdata=", &layout.data_dir(&info.id)),
    ];
    if let Some(dbid) = config.warehousepg_dbid {
        arguments.push(format!("--target-gp-dbid={dbid}").into());
    }
    if client >= 10 {
        arguments.extend(["--no-slot".into(), "--wal-method=none".into()]);
    }
    for (oid, location) in mapped(info) {
        let target = layout.tablespace_dir(&info.id, oid);
        arguments.push(mapping(Path::new(location), &target));
    }
    if let Some(limit) = config.bandwidth_limit.filter(|limit| *limit > 0) {
        arguments.push(format!("--max-rate={limit}").into());
    }
    if let Some(manifest) = parent_manifest {
        arguments.push(with_path("--incremental=", manifest));
    }
    if config.immediate_checkpoint {
        arguments.push("--checkpoint=fast".into());
    }
    arguments.extend(compression(config, client).into_iter().map(OsString::from));
    Ok(CommandLine { arguments, password })
}

/// The tablespaces that are copied to a directory of their own: their oids and locations. One within the data directory
/// (`allow_in_place_tablespaces`) has no absolute location and cannot be mapped.
pub(super) fn mapped(info: &BackupInfo) -> impl Iterator<Item = (u32, &str)> {
    let all = info.tablespaces.iter().flatten();
    all.filter(|tablespace| tablespace.location.starts_with('/'))
        .map(|tablespace| (tablespace.oid, tablespace.location.as_str()))
}

/// Whether the backup will be in tar files.
pub(super) fn is_packed(config: &ServerConfig) -> bool {
    config.backup_compression.is_some()
        && config.backup_compression_format != Some(BackupCompressionFormat::Plain)
}

fn compression(config: &ServerConfig, client: u32) -> Vec<String> {
    let Some(method) = config.backup_compression else {
        return Vec::new();
    };
    let format = if is_packed(config) { "tar" } else { "plain" };
    let mut words = vec![format!("--format={format}")];
    if client < DETAILED {
        let level = config.backup_compression_level;
        match (method, level) {
            (BackupCompression::None, _) => words.push("--compress=0".to_owned()),
            (_, Some(level)) if level >= 0 => {
                words.extend(["--gzip".to_owned(), format!("--compress={level}")]);
            }
            _ => words.push("--gzip".to_owned()),
        }
        return words;
    }
    let side = match config.backup_compression_location {
        None => "",
        Some(BackupCompressionLocation::Client) => "client-",
        Some(BackupCompressionLocation::Server) => "server-",
    };
    let mut details = Vec::new();
    if let Some(level) = config.backup_compression_level {
        details.push(format!("level={level}"));
    }
    if let Some(workers) = config.backup_compression_workers {
        details.push(format!("workers={workers}"));
    }
    // Without compression there is nothing to specify, and the program refuses an empty list.
    if method == BackupCompression::None {
        details.clear();
    }
    let details = match details.is_empty() {
        true => String::new(),
        false => format!(":{}", details.join(",")),
    };
    words.push(format!("--compress={side}{}{details}", method.keyword()));
    words
}

fn with_path(option: &str, path: &Path) -> OsString {
    let mut word = OsString::from(option);
    word.push(path);
    word
}

/// `=` separates the two directories, and has to be escaped within them.
fn mapping(from: &Path, to: &Path) -> OsString {
    let mut word = OsString::from("--tablespace-mapping=");
    for (path, separator) in [(from, "="), (to, "")] {
        let bytes = path.as_os_str().as_bytes().iter();
        let escaped: Vec<u8> = bytes
            .flat_map(|byte| match byte {
                b'=' => b"\\=".to_vec(),
                other => vec![*other],
            })
            .collect();
        word.push(OsString::from_vec(escaped));
        word.push(separator);
    }
    word
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use super::*;
    use crate::catalog::{BackupId, Tablespace};
    use crate::config::Location;

    fn arguments(config: &ServerConfig, client: u32, parent: Option<&Path>) -> Vec<String> {
        let mut config = config.clone();
        config.backup_directory = PathBuf::from("/b/main");
        config.basebackups_directory = Location::Local(PathBuf::from("/b/main/base"));
        config.wals_directory = Location::Local(PathBuf::from("/b/main/wals"));
        config.streaming_conninfo = Some("host=pg user=s password=secret".to_owned());
        config.streaming_backup_name = "barman_streaming_backup".to_owned();
        let catalog = Catalog::of(&config).unwrap();
        let mut info = BackupInfo::empty(BackupId::parse("20260101T000000").unwrap());
        info.tablespaces = Some(vec![
            Tablespace {
                name: "space".to_owned(),
                oid: 16384,
                location: "/srv/a=b".to_owned(),
            },
            Tablespace {
                name: "inside".to_owned(),
                oid: 16385,
                location: "pg_tblspc/16385".to_owned(),
            },
        ]);
        let line = command_line(&config, &catalog, &info, client, parent).unwrap();
        assert_eq!(line.password.as_deref(), Some("secret"));
        let words: Vec<String> = line
            .arguments
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect();
        assert!(words.iter().all(|word| !word.contains("secret")), "{words:?}");
        words
    }

    #[test]
    fn everything_in_barmans_order() {
        let config = ServerConfig {
            immediate_checkpoint: true,
            bandwidth_limit: Some(100),
            warehousepg_dbid: Some(4),
            backup_compression: Some(BackupCompression::Zstd),
            backup_compression_level: Some(5),
            backup_compression_workers: Some(2),
            backup_compression_location: Some(BackupCompressionLocation::Server),
            ..ServerConfig::default()
        };
        assert_eq!(
            arguments(
                &config,
                17,
                Some(Path::new("/b/main/base/P/data/backup_manifest"))
            ),
            [
                "--dbname=dbname=replication host=pg options=-cdatestyle=iso replication=true user=s \
                 application_name=barman_streaming_backup",
                "-v",
                "--no-password",
                "--pgdata=/b/main/base/20260101T000000/data",
                "--target-gp-dbid=4",
                "--no-slot",
                "--wal-method=none",
                "--tablespace-mapping=/srv/a\\=b=/b/main/base/20260101T000000/16384",
                "--max-rate=100",
                "--incremental=/b/main/base/P/data/backup_manifest",
                "--checkpoint=fast",
                "--format=tar",
                "--compress=server-zstd:level=5,workers=2",
            ]
        );
    }

    #[test]
    fn compression_of_both_ages() {
        let words = |method, level, format, client| {
            let config = ServerConfig {
                backup_compression: Some(method),
                backup_compression_level: level,
                backup_compression_format: format,
                ..ServerConfig::default()
            };
            compression(&config, client).join(" ")
        };
        let plain = Some(BackupCompressionFormat::Plain);
        assert_eq!(
            words(BackupCompression::Gzip, None, None, 15),
            "--format=tar --compress=gzip"
        );
        assert_eq!(
            words(BackupCompression::Gzip, Some(1), plain, 15),
            "--format=plain --compress=gzip:level=1"
        );
        assert_eq!(
            words(BackupCompression::None, Some(0), None, 15),
            "--format=tar --compress=none"
        );
        assert_eq!(
            words(BackupCompression::Gzip, Some(3), None, 13),
            "--format=tar --gzip --compress=3"
        );
        assert_eq!(
            words(BackupCompression::Gzip, None, None, 13),
            "--format=tar --gzip"
        );
        assert_eq!(
            words(BackupCompression::None, None, None, 13),
            "--format=tar --compress=0"
        );
        assert_eq!(compression(&ServerConfig::default(), 15), [] as [&str; 0]);
    }
}

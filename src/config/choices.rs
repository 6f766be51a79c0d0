//! The kinds of values that are a choice from a list, and the sets of keywords.

use std::fmt;

use super::shown::Shown;
use super::table::{Emptiness, OptionType, Refusal};

/// Declares an enum whose values are keywords of the configuration file. The first variant is the default.
macro_rules! choice {
    (
        $(#[$attribute:meta])*
        $name:ident, $case:ident $(, $empty:ident)? {
            $(#[doc = $first_help:literal])+ $first:ident = $first_keyword:literal,
            $( $(#[doc = $help:literal])+ $variant:ident = $keyword:literal, )*
        }
        $refused:expr
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub enum $name {
            $(#[doc = $first_help])+ #[default] $first,
            $( $(#[doc = $help])+ $variant, )*
        }

        impl $name {
            /// Every value, in the order Barman lists them.
            pub const ALL: &[$name] = &[$name::$first $(, $name::$variant)*];

            /// The keyword of the configuration file.
            #[must_use]
            pub const fn keyword(self) -> &'static str {
                match self {
                    $name::$first => $first_keyword,
                    $( $name::$variant => $keyword, )*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.keyword())
            }
        }

        impl OptionType for $name {
            const KIND: &'static str = concat!("one of ", $first_keyword $(, ", ", $keyword)*);
                $( const EMPTY: Emptiness = Emptiness::$empty; )?

            fn read(text: &str) -> Result<Self, Refusal> {
                let sought = Case::$case.fold(text);
                let refused: fn(&str) -> String = $refused;
                $name::ALL
                    .iter()
                    .copied()
                    .find(|choice| choice.keyword() == sought)
                    .ok_or_else(|| refused(text).into())
            }

            fn shown(&self) -> Shown {
                Shown::Text(self.keyword().to_owned())
            }
        }
    };
}

/// Whether the case of a keyword matters.
enum Case {
    Ignored,
    Matters,
}

impl Case {
    fn fold(self, text: &str) -> String {
        match self {
            Case::Ignored => text.to_lowercase(),
            Case::Matters => text.to_owned(),
        }
    }
}

choice! {
    /// How a base backup is taken.
    BackupMethod, Ignored {
        /// Copy over ssh.
        Rsync = "rsync",
        /// `pg_basebackup`.
        Postgres = "postgres",
        /// Copy on the PostgreSQL host itself.
        LocalRsync = "local-rsync",
        /// Disk snapshots of a cloud provider.
        Snapshot = "snapshot",
        /// From the PostgreSQL host into an object store.
        LocalToCloud = "local-to-cloud",
    }
    |_| "Invalid value (must be one in: 'rsync', 'postgres', 'local-rsync', 'snapshot', 'local-to-cloud')".to_owned()
}

choice! {
    /// What a backup does with files that have not changed since the previous one.
    ReuseBackup, Ignored {
        /// Nothing: copy everything again.
        Off = "off",
        /// Copy them from the previous backup.
        Copy = "copy",
        /// Hard-link them to the previous backup.
        Link = "link",
    }
    |_| "Invalid value (use 'copy', 'link' or 'off')".to_owned()
}

choice! {
    /// Who creates the replication slot.
    CreateSlot, Ignored {
        /// The operator.
        Manual = "manual",
        /// `receive-wal`, when it is missing.
        Auto = "auto",
    }
    |_| "Invalid value (use 'manual' or 'auto')".to_owned()
}

choice! {
    /// The compression of base backups taken by `pg_basebackup`.
    BackupCompression, Ignored {
        /// gzip.
        Gzip = "gzip",
        /// LZ4.
        Lz4 = "lz4",
        /// Zstandard.
        Zstd = "zstd",
        /// A tar without compression.
        None = "none",
    }
    |text| format!("Invalid value '{text}'(must be one in: ['gzip', 'lz4', 'zstd', 'none'])")
}

choice! {
    /// What is looked at before a segment is archived.
    WalValidation, Ignored {
        /// Its first bytes.
        Header = "header",
        /// Its first bytes, and the checksum of every record.
        Full = "full",
        /// Nothing.
        Off = "off",
    }
    |text| format!("Invalid value '{text}' (must be one in: ['header', 'full', 'off'])")
}

choice! {
    /// What a compressed base backup looks like on this host.
    BackupCompressionFormat, Ignored {
        /// Compressed tar files.
        Tar = "tar",
        /// Plain files: compressed on the wire only.
        Plain = "plain",
    }
    |_| "Invalid value (must be either `plain` or `tar`)".to_owned()
}

choice! {
    /// Where a base backup is compressed.
    BackupCompressionLocation, Ignored {
        /// Here.
        Client = "client",
        /// By PostgreSQL.
        Server = "server",
    }
    |_| "Invalid value (must be either `client` or `server`)".to_owned()
}

choice! {
    /// The encryption of backups.
    Encryption, Ignored {
        /// Off.
        None = "none",
        /// GnuPG.
        Gpg = "gpg",
    }
    |text| format!("Invalid encryption value '{}'. Allowed values are: none, gpg.", text.to_lowercase())
}

choice! {
    /// The compression of archived WAL files.
    WalCompression, Ignored, Unset {
        /// gzip.
        Gzip = "gzip",
        /// bzip2.
        Bzip2 = "bzip2",
        /// gzip, as Barman's obsolete Python implementation.
        Pygzip = "pygzip",
        /// bzip2, as Barman's obsolete Python implementation.
        Pybzip2 = "pybzip2",
        /// gzip, as made by pigz.
        Pigz = "pigz",
        /// xz.
        Xz = "xz",
        /// Zstandard.
        Zstd = "zstd",
        /// LZ4.
        Lz4 = "lz4",
        /// Snappy.
        Snappy = "snappy",
        /// The commands of `custom_compression_filter` and `custom_decompression_filter`.
        Custom = "custom",
    }
    |text| format!(
        "Invalid value: '{}' (must be one in: gzip, bzip2, pygzip, pybzip2, pigz, xz, zstd, lz4, snappy, custom)",
        text.to_lowercase()
    )
}

choice! {
    /// On which host a restore stages what it decrypts, decompresses or combines.
    StagingLocation, Matters {
        /// This host.
        Local = "local",
        /// The host restored to.
        Remote = "remote",
    }
    |text| format!("Invalid value: {text} (options are: local, remote)")
}

choice! {
    /// How `pg_combinebackup` brings files into the combined backup.
    CombineMode, Ignored {
        /// Copy.
        Copy = "copy",
        /// Hard links.
        Link = "link",
        /// Reflinks.
        Clone = "clone",
        /// `copy_file_range(2)`.
        CopyFileRange = "copy-file-range",
    }
    |text| format!("Invalid value: {} (options are: copy, link, clone, copy-file-range)", text.to_lowercase())
}

choice! {
    /// The server-side encryption of objects in Amazon S3.
    AwsEncryption, Matters {
        /// Keys of S3.
        Aes256 = "AES256",
        /// Keys of KMS.
        Kms = "aws:kms",
    }
    |text| format!("Invalid value '{text}' (must be one in: ['AES256', 'aws:kms'])")
}

/// The level of WAL compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressionLevel {
    /// Fast.
    Low,
    /// The algorithm's own middle.
    #[default]
    Medium,
    /// Small.
    High,
    /// A level of the algorithm; outside its range it is clamped.
    Level(i64),
}

impl fmt::Display for CompressionLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompressionLevel::Low => formatter.write_str("low"),
            CompressionLevel::Medium => formatter.write_str("medium"),
            CompressionLevel::High => formatter.write_str("high"),
            CompressionLevel::Level(level) => write!(formatter, "{level}"),
        }
    }
}

impl OptionType for CompressionLevel {
    const KIND: &'static str = "low, medium, high or an integer";
    const EMPTY: Emptiness = Emptiness::Unset;

    fn read(text: &str) -> Result<Self, Refusal> {
        match text.to_lowercase().as_str() {
            "low" => Ok(CompressionLevel::Low),
            "medium" => Ok(CompressionLevel::Medium),
            "high" => Ok(CompressionLevel::High),
            folded => {
                let digits = folded.trim_start_matches('-');
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(format!(
                        "Invalid value: '{folded}' (must be one in [low, medium, high] or an acceptable integer)"
                    )
                    .into());
                }
                i64::read(folded).map(CompressionLevel::Level)
            }
        }
    }

    fn shown(&self) -> Shown {
        match self {
            CompressionLevel::Level(level) => Shown::Int(*level),
            word => Shown::Text(word.to_string()),
        }
    }
}

/// The strategy of base backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // a set of three keywords
pub struct BackupOptions {
    /// `concurrent_backup`: the only interface PostgreSQL 15 still has.
    pub concurrent_backup: bool,
    /// `exclusive_backup`: PostgreSQL up to 14.
    pub exclusive_backup: bool,
    /// `external_configuration`: leave configuration files outside `PGDATA` alone.
    pub external_configuration: bool,
}

impl BackupOptions {
    /// The keywords that are set, in alphabetical order.
    #[must_use]
    pub fn keywords(self) -> Vec<&'static str> {
        [
            (self.concurrent_backup, "concurrent_backup"),
            (self.exclusive_backup, "exclusive_backup"),
            (self.external_configuration, "external_configuration"),
        ]
        .into_iter()
        .filter_map(|(set, keyword)| set.then_some(keyword))
        .collect()
    }
}

impl fmt::Display for BackupOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.keywords().join(","))
    }
}

/// The words of a comma-separated set, folded and trimmed, in the order in which Barman looks at them: sorted as they are
/// written. An empty text has none.
fn words(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut words: Vec<&str> = text.split(',').collect();
    words.sort_unstable();
    words.into_iter().map(|word| word.trim().to_lowercase()).collect()
}

impl OptionType for BackupOptions {
    const KIND: &'static str =
        "comma-separated list of concurrent_backup, exclusive_backup, external_configuration";
    const EMPTY: Emptiness = Emptiness::Value;

    fn read(text: &str) -> Result<Self, Refusal> {
        let mut options = BackupOptions::default();
        for word in words(text) {
            match word.as_str() {
                "concurrent_backup" => options.concurrent_backup = true,
                "exclusive_backup" => options.exclusive_backup = true,
                "external_configuration" => options.external_configuration = true,
                other => return Err(unknown_keyword(other)),
            }
            if options.concurrent_backup && options.exclusive_backup {
                let other = if word == "concurrent_backup" {
                    "exclusive_backup"
                } else {
                    "concurrent_backup"
                };
                return Err(exclusive(&word, other));
            }
        }
        Ok(options)
    }

    fn shown(&self) -> Shown {
        Shown::Keywords("BackupOptions", self.keywords())
    }
}

/// What a restore does unless told otherwise on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoveryOptions {
    /// `get-wal`: the restored server fetches WAL files from here.
    pub get_wal: bool,
    /// `delta-restore`: what is already in the destination is reused.
    pub delta_restore: bool,
}

impl RecoveryOptions {
    /// The keywords that are set, in alphabetical order.
    #[must_use]
    pub fn keywords(self) -> Vec<&'static str> {
        [(self.delta_restore, "delta-restore"), (self.get_wal, "get-wal")]
            .into_iter()
            .filter_map(|(set, keyword)| set.then_some(keyword))
            .collect()
    }
}

impl fmt::Display for RecoveryOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.keywords().join(","))
    }
}

impl OptionType for RecoveryOptions {
    const KIND: &'static str = "comma-separated list of get-wal, delta-restore";
    const EMPTY: Emptiness = Emptiness::Value;

    fn read(text: &str) -> Result<Self, Refusal> {
        let mut options = RecoveryOptions::default();
        for word in words(text) {
            match word.as_str() {
                "get-wal" => options.get_wal = true,
                "delta-restore" => options.delta_restore = true,
                other => return Err(unknown_keyword(other)),
            }
        }
        Ok(options)
    }

    fn shown(&self) -> Shown {
        Shown::Keywords("RecoveryOptions", self.keywords())
    }
}

fn unknown_keyword(word: &str) -> Refusal {
    Refusal::Keyword(word.to_owned(), "Unknown option".to_owned())
}

fn exclusive(word: &str, other: &str) -> Refusal {
    let reason = format!("cannot contain both '{word}' and '{other}'.Configuration directive ignored.");
    Refusal::Keyword(word.to_owned(), reason)
}

//! Why `put-wal` refuses a delivery. Texts of Barman's are kept where scripts may know them.

use std::io;

use crate::base::error::PathError;

/// Why the stream was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PutWalError {
    /// A member is a directory, a link or something else.
    #[error("Unsupported file type 'b'{kind}'' for file '{name}' in put-wal for server '{server}'")]
    FileType {
        /// The type's letter in the tar header.
        kind: char,
        /// The member.
        name: String,
        /// The server.
        server: String,
    },
    /// A member's name is not that of a WAL file.
    #[error("Unsupported filename '{name}' in put-wal for server '{server}'")]
    Filename {
        /// The member.
        name: String,
        /// The server.
        server: String,
    },
    /// The list names a file that is not in the stream.
    #[error("Checksum without corresponding file '{name}' in put-wal for server '{server}'")]
    WithoutFile {
        /// The file.
        name: String,
        /// The server.
        server: String,
    },
    /// A file is not what its checksum says.
    #[error(
        "Bad file checksum '{found}' (should be {expected}) for file '{name}' in put-wal for server '{server}'"
    )]
    Checksum {
        /// What was computed.
        found: String,
        /// What the list says.
        expected: String,
        /// The file.
        name: String,
        /// The server.
        server: String,
    },
    /// A file that the list does not name.
    #[error("Missing checksum for file '{name}' in put-wal for server '{server}'")]
    WithoutChecksum {
        /// The file.
        name: String,
        /// The server.
        server: String,
    },
    /// The stream is not a tar archive, or ends too early.
    #[error("cannot read the tar stream in put-wal for server '{server}': {source}")]
    Stream {
        /// The server.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// The files could not be written.
    #[error(transparent)]
    Path(#[from] PathError),
}

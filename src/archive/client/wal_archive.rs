//! `barman-wal-archive`: an `archive_command` that sends one WAL file to `barman put-wal` (command reference §7).
//!
//! What is sent is a tar stream of two members: the file under its own name, possibly compressed, and `SHA256SUMS` (or
//! `MD5SUMS`) with its checksum. PostgreSQL may recycle the file once this returned 0, so 0 means that the Barman host
//! said so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::archive::put_wal::{base_name, hexadecimal};
use crate::base::error::strerror;
use crate::base::process::exit_code;
use crate::codec::wal::compress_into;
use crate::codec::{Compression, Level};

use super::Console;
use super::remote::{Remote, SSH_FAILED, word};

/// The exit code of a failure on this host.
const LOCAL_FAILURE: i32 = 2;
/// The exit code of a failure of ssh.
const CONNECTION_FAILURE: i32 = 3;

/// One call of the program.
#[derive(Debug, Clone)]
pub struct WalArchive {
    /// The Barman host.
    pub remote: Remote,
    /// The server's name there.
    pub server: String,
    /// The file to archive.
    pub wal_path: PathBuf,
    /// Only see whether the Barman host would accept files.
    pub test: bool,
    /// Use MD5 checksums, for Barman hosts older than 3.
    pub md5: bool,
    /// How to compress the file before it is sent.
    pub compression: Option<Compression>,
    /// How hard.
    pub level: Level,
    /// Where the compressed copy is put meanwhile, without a name.
    pub temporary_directory: PathBuf,
}

impl WalArchive {
    /// Sends the file. Returns the program's exit code.
    pub fn run(&self, console: &mut Console<'_>) -> i32 {
        if self.wal_path.is_dir() {
            console.error(format_args!(
                "WAL_PATH cannot be a directory: {}",
                self.wal_path.display()
            ));
            return LOCAL_FAILURE;
        }
        if self.test {
            return self.run_test(console);
        }
        match self.send() {
            Ok(0) => 0,
            Ok(SSH_FAILED) => {
                console.error("Connection problem with ssh");
                CONNECTION_FAILURE
            }
            Ok(code) => {
                console.error("Remote 'barman put-wal' command has failed!");
                code
            }
            Err(Failure::Local(text)) => {
                console.error(text);
                LOCAL_FAILURE
            }
        }
    }

    fn config(&self) -> Option<String> {
        // Barman's own spelling: the quotes are for the shell of the other side.
        self.remote
            .config
            .as_ref()
            .map(|config| format!("--config='{config}'"))
    }

    fn run_test(&self, console: &mut Console<'_>) -> i32 {
        let words = ["put-wal".to_owned(), word(&self.server), "--test".to_owned()];
        let mut command = self.remote.barman(self.config(), &words);
        match Remote::test(&mut command) {
            Ok((text, code)) => {
                console.stdout(&text);
                code
            }
            Err(error) => {
                console.error(format_args!("Error executing ssh: {error}"));
                LOCAL_FAILURE
            }
        }
    }

    /// Runs ssh and feeds it. Returns its exit code.
    fn send(&self) -> Result<i32, Failure> {
        let mut payload = self.payload()?;
        let words = ["put-wal".to_owned(), word(&self.server)];
        let mut child = self
            .remote
            .barman(self.config(), &words)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::Local(format!("Error executing ssh: {error}")))?;
        let written = match child.stdin.take() {
            Some(stdin) => self.write(&mut payload, stdin),
            None => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        };
        let incomplete = written.is_err();
        if incomplete && !matches!(&written, Err(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            // Not the other side's doing: it must not mistake what it got for everything.
            if let Err(error) = child.kill() {
                log::debug!("cannot end ssh: {error}");
            }
        }
        let status = child
            .wait()
            .map_err(|error| Failure::Local(format!("Error executing ssh: {error}")))?;
        match (exit_code(status), written) {
            (0, Ok(())) => Ok(0),
            // A remote side that reports success without having read everything has not archived it.
            (0, Err(error)) => Err(self.failure("send", error)),
            (_, Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(self.failure("send", error)),
            (code, _) => Ok(code),
        }
    }

    fn failure(&self, action: &str, error: io::Error) -> Failure {
        Failure::Local(format!(
            "cannot {action} \"{}\": {}",
            self.wal_path.display(),
            strerror(&error)
        ))
    }

    /// What the tar member holds: the file, or a compressed copy of it.
    fn payload(&self) -> Result<Payload, Failure> {
        let file = File::open(&self.wal_path).map_err(|error| self.failure("open", error))?;
        let metadata = file.metadata().map_err(|error| self.failure("stat", error))?;
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let (file, size) = match self.compression {
            None => (file, metadata.len()),
            Some(compression) => {
                let copy =
                    nameless(&self.temporary_directory).map_err(|error| self.failure("compress", error))?;
                let mut copy = compress_into(&self.wal_path, copy, compression, self.level)
                    .map_err(|error| Failure::Local(error.to_string()))?;
                let size = copy
                    .stream_position()
                    .map_err(|error| self.failure("compress", error))?;
                copy.seek(SeekFrom::Start(0))
                    .map_err(|error| self.failure("compress", error))?;
                (copy, size)
            }
        };
        Ok(Payload {
            file,
            size,
            mode: metadata.mode() & 0o7777,
            modified: modified.unwrap_or_default(),
        })
    }

    /// Writes the two members.
    fn write(&self, payload: &mut Payload, output: impl Write) -> io::Result<()> {
        let name = base_name(&self.wal_path);
        let mut tar = tar::Builder::new(io::BufWriter::with_capacity(256 * 1024, output));
        let precise = format!(
            "{}.{:09}",
            payload.modified.as_secs(),
            payload.modified.subsec_nanos()
        );
        tar.append_pax_extensions([("mtime", precise.as_bytes())])?;
        let mut header = payload.header(payload.size);
        let mut hashing = Hashing::new((&mut payload.file).take(payload.size), self.md5);
        tar.append_data(&mut header, &name, &mut hashing)?;
        if hashing.count != payload.size {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was sent",
            ));
        }
        let list = format!("{} *{name}\n", hashing.finish());
        let list_name = if self.md5 { "MD5SUMS" } else { "SHA256SUMS" };
        let mut header = payload.header(list.len() as u64);
        tar.append_data(&mut header, list_name, list.as_bytes())?;
        tar.into_inner()?.flush()
    }
}

enum Failure {
    Local(String),
}

struct Payload {
    file: File,
    size: u64,
    mode: u32,
    modified: std::time::Duration,
}

impl Payload {
    fn header(&self, size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(self.mode);
        header.set_mtime(self.modified.as_secs());
        header
    }
}

/// A file that nobody else can open and that vanishes with this process.
fn nameless(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!(
        ".barman-wal-archive-{}-{:x}",
        std::process::id(),
        UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos()
    ));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// Computes a checksum of what is read through it.
struct Hashing<R> {
    inner: R,
    count: u64,
    hash: Hash,
}

enum Hash {
    Md5(md5::Md5),
    Sha256(Sha256),
}

impl<R: Read> Hashing<R> {
    fn new(inner: R, md5: bool) -> Self {
        let hash = if md5 {
            Hash::Md5(md5::Md5::new())
        } else {
            Hash::Sha256(Sha256::new())
        };
        Hashing {
            inner,
            count: 0,
            hash,
        }
    }

    fn finish(self) -> String {
        match self.hash {
            Hash::Md5(hash) => hexadecimal(&hash.finalize()),
            Hash::Sha256(hash) => hexadecimal(&hash.finalize()),
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        match &mut self.hash {
            Hash::Md5(hash) => hash.update(bytes),
            Hash::Sha256(hash) => hash.update(bytes),
        }
        self.count += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::put_wal::put_wal;
    use crate::archive::sandbox::{Sandbox, segment};
    use crate::codec::WalCodec;

    const NAME: &str = "000000010000000000000001";

    fn program(sandbox: &Sandbox, script: &str) -> WalArchive {
        WalArchive {
            remote: Remote {
                ssh: sandbox.script("ssh", script),
                host: "backup".to_owned(),
                user: "barman".to_owned(),
                port: Some("2222".to_owned()),
                config: Some("/etc/b.conf".to_owned()),
            },
            server: "main".to_owned(),
            wal_path: sandbox.write(&format!("pg_wal/{NAME}"), &segment(NAME, 1)),
            test: false,
            md5: false,
            compression: None,
            level: Level::Low,
            temporary_directory: sandbox.root.clone(),
        }
    }

    fn run(program: &WalArchive) -> (i32, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = program.run(&mut Console {
            out: &mut out,
            err: &mut err,
        });
        (
            code,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    #[test]
    fn what_is_sent_is_what_put_wal_accepts() {
        let sandbox = Sandbox::new();
        let root = sandbox.root.display().to_string();
        for (md5, compression) in [(false, None), (true, None), (false, Some(Compression::Lz4))] {
            let mut program = program(
                &sandbox,
                &format!("echo \"$@\" > {root}/args; cat > {root}/stream"),
            );
            program.md5 = md5;
            program.compression = compression;
            assert_eq!(run(&program), (0, String::new(), String::new()));
            let stream = File::open(sandbox.root.join("stream")).unwrap();
            let received = put_wal(&sandbox.places(), &WalCodec::default(), stream).unwrap();
            assert_eq!(received.received.len(), 1);
            let there = fs::metadata(sandbox.root.join("incoming").join(NAME)).unwrap();
            let here = fs::metadata(&program.wal_path).unwrap();
            let gap = there.modified().unwrap().duration_since(here.modified().unwrap());
            assert!(gap.unwrap_or_else(|early| early.duration()).as_micros() < 2);
            fs::remove_file(sandbox.root.join("incoming").join(NAME)).unwrap();
        }
        assert_eq!(
            fs::read_to_string(sandbox.root.join("args")).unwrap(),
            "-p 2222 -q -T barman@backup barman --config='/etc/b.conf' put-wal main\n"
        );
    }

    #[test]
    fn exit_codes_are_barmans() {
        let sandbox = Sandbox::new();
        let code = |script: &str| run(&program(&sandbox, script)).0;
        assert_eq!(code("cat >/dev/null; exit 255"), 3);
        assert_eq!(code("exit 1"), 1);
        assert_eq!(code("cat >/dev/null; exit 7"), 7);
        // Success without having read anything is no success.
        assert_eq!(code("exec <&-; exit 0"), 2);
        let mut absent = program(&sandbox, "cat >/dev/null");
        absent.wal_path = sandbox.root.join("nothing");
        assert_eq!(run(&absent).0, 2);
        absent.wal_path = sandbox.root.clone();
        assert_eq!(run(&absent).0, 2);
        let mut test = program(
            &sandbox,
            "echo ready; echo \"$@\" | grep -q 'put-wal main --test' || exit 9; exit 255",
        );
        test.test = true;
        assert_eq!(run(&test), (255, "ready\n\n".to_owned(), String::new()));
    }
}

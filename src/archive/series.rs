//! Several WAL files over one run of `get-wal`: what `barman-wal-restore --parallel` fetches ahead.
//!
//! A run of `get-wal` for each file costs a session of ssh, a shell and a start of the program. Here the client writes the
//! names that it wants to the other side's standard input, one a line and whenever it has room, and gets the files one after
//! the other. Where the other side is Barman, which does not know the option, the client goes back to one run for each file.
//!
//! The stream begins with [`GREETING`]. Each file comes in pieces: four bytes with the length, most significant first, and
//! that many bytes. A length of 0 ends it, followed by one byte that says how it ended and, as another piece, a text for
//! people. Only a file that ended with [`End::Whole`] is one.

use std::io::{self, BufRead, Read, Write};

use crate::codec::WalCodec;

use super::get_wal::{self, Form, GetWalError};
use super::place::Places;

/// What the stream begins with. The number is that of the format.
pub const GREETING: &[u8] = b"barkeep WAL series 1\n";

/// The longest line with a name, in bytes.
const LONGEST_NAME: u64 = 256;
/// The longest text at the end of a file, in bytes.
const LONGEST_TEXT: u32 = 64 * 1024;
/// The largest piece, in bytes.
const LARGEST_PIECE: usize = 1 << 20;

/// How a file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is complete.
    Whole,
    /// There is no such file.
    Missing(String),
    /// It was found and not, or not completely, sent.
    Failed(String),
}

impl End {
    fn code(&self) -> u8 {
        match self {
            End::Whole => 0,
            End::Missing(_) => 1,
            End::Failed(_) => 2,
        }
    }

    fn text(&self) -> &str {
        match self {
            End::Whole => "",
            End::Missing(text) | End::Failed(text) => text,
        }
    }
}

/// What was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many files.
    pub count: u64,
    /// The first.
    pub first: String,
    /// The last.
    pub last: String,
}

/// Answers names with files until there are no more.
///
/// # Errors
/// The names cannot be read. A client that is gone is no error.
pub fn serve(
    places: &Places,
    codec: &WalCodec,
    form: Form,
    mut names: impl BufRead,
    mut output: impl Write,
) -> io::Result<Sent> {
    let mut sent = Sent::default();
    if output.write_all(GREETING).and_then(|()| output.flush()).is_err() {
        return Ok(sent);
    }
    loop {
        let mut line = Vec::new();
        (&mut names).take(LONGEST_NAME).read_until(b'\n', &mut line)?;
        let Some(name) = line.strip_suffix(b"\n") else {
            return Ok(sent);
        };
        let name = String::from_utf8_lossy(name);
        let mut file = Outgoing::new(&mut output);
        let end = match get_wal::send(places, codec, &name, form, false, &mut file) {
            Ok(found) => {
                sent.count += 1;
                if sent.count == 1 {
                    sent.first.clone_from(&found);
                }
                sent.last = found;
                End::Whole
            }
            Err(error @ GetWalError::NotFound { .. }) => End::Missing(error.to_string()),
            Err(error) => End::Failed(error.to_string()),
        };
        if file.finish(&end).is_err() {
            return Ok(sent);
        }
    }
}

/// A file on its way out.
struct Outgoing<W> {
    output: W,
    /// The first error of `output`: nobody reads any more.
    lost: Option<io::ErrorKind>,
}

impl<W: Write> Outgoing<W> {
    fn new(output: W) -> Self {
        Outgoing { output, lost: None }
    }

    fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.output.write_all(&length.to_be_bytes())?;
        self.output.write_all(bytes)
    }

    fn finish(mut self, end: &End) -> io::Result<()> {
        if let Some(kind) = self.lost {
            return Err(kind.into());
        }
        self.piece(&[])?;
        self.output.write_all(&[end.code()])?;
        let text = end.text().as_bytes();
        self.piece(text.get(..LONGEST_TEXT as usize).unwrap_or(text))?;
        self.output.flush()
    }
}

impl<W: Write> Write for Outgoing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = bytes.get(..LARGEST_PIECE).unwrap_or(bytes);
        if !bytes.is_empty() {
            self.piece(bytes)
                .inspect_err(|error| self.lost = Some(error.kind()))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// A file on its way in: a stream of its bytes.
pub struct Incoming<'a, R> {
    input: &'a mut R,
    /// What is left of the piece.
    left: u32,
    /// The last piece was read.
    over: bool,
}

impl<'a, R: Read> Incoming<'a, R> {
    /// The file that comes next.
    pub fn new(input: &'a mut R) -> Self {
        Incoming {
            input,
            left: 0,
            over: false,
        }
    }

    /// Reads what is left of the file, and how it ended.
    ///
    /// # Errors
    /// The stream broke off.
    pub fn end(mut self) -> io::Result<End> {
        io::copy(&mut self, &mut io::sink())?;
        let mut code = [0];
        self.input.read_exact(&mut code)?;
        let length = self.length()?.min(LONGEST_TEXT);
        let mut text = Vec::new();
        self.input.take(u64::from(length)).read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(match code {
            [0] => End::Whole,
            [1] => End::Missing(text),
            _ => End::Failed(text),
        })
    }

    fn length(&mut self) -> io::Result<u32> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        Ok(u32::from_be_bytes(length))
    }
}

impl<R: Read> Read for Incoming<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.over {
            return Ok(0);
        }
        if self.left == 0 {
            self.left = self.length()?;
            if self.left == 0 {
                self.over = true;
                return Ok(0);
            }
        }
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.input.read(buffer.get_mut(..room).unwrap_or_default())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::sandbox::{Sandbox, segment};
    use crate::codec::Compression;
    use crate::codec::wal::compress_file;
    use proptest::prelude::*;

    const NAME: &str = "000000010000000000000001";
    const NEXT: &str = "000000010000000000000002";

    fn served(sandbox: &Sandbox, codec: &WalCodec, names: &str) -> Vec<u8> {
        let mut output = Vec::new();
        serve(
            &sandbox.places(),
            codec,
            Form::Portable,
            names.as_bytes(),
            &mut output,
        )
        .unwrap();
        output.strip_prefix(GREETING).unwrap().to_vec()
    }

    /// The files of a stream, and how each ended.
    fn files(mut stream: &[u8]) -> io::Result<Vec<(Vec<u8>, End)>> {
        let mut files = Vec::new();
        while !stream.is_empty() {
            let mut incoming = Incoming::new(&mut stream);
            let mut content = Vec::new();
            incoming.read_to_end(&mut content)?;
            files.push((content, incoming.end()?));
        }
        Ok(files)
    }

    #[test]
    fn files_come_in_the_order_of_their_names_and_what_is_missing_is_said() {
        let sandbox = Sandbox::new();
        sandbox.write(&format!("incoming/{NAME}"), &segment(NAME, 1));
        let source = sandbox.write("source", &segment(NEXT, 2));
        let target = sandbox.places().archived(NEXT).unwrap();
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        compress_file(&source, &target, Compression::Zstd, crate::codec::Level::Low).unwrap();
        let codec = WalCodec::default();
        let stream = served(
            &sandbox,
            &codec,
            &format!("{NEXT}\n{NAME}\n000000010000000000000003\n../x\n{NAME}\n{NEXT}"),
        );
        let found = files(&stream).unwrap();
        assert_eq!(found.len(), 5, "a name without its end is none");
        assert!(
            found[0] == (std::fs::read(&target).unwrap(), End::Whole),
            "as it is stored"
        );
        assert!(found[1] == (segment(NAME, 1), End::Whole));
        assert!(matches!(&found[2].1, End::Missing(text) if text.contains("not found in server 'main'")));
        assert!(matches!(&found[3].1, End::Failed(text) if text.contains("not a valid wal file name")));
        assert!(found[4].1 == End::Whole);
        // A client that has no such filter gets what PostgreSQL wrote.
        let codec = WalCodec {
            decompression_filter: Some("zstd -dc".to_owned()),
            ..WalCodec::default()
        };
        let stream = served(&sandbox, &codec, &format!("{NEXT}\n"));
        assert!(files(&stream).unwrap()[0].0 == segment(NEXT, 2));
    }

    #[test]
    fn a_file_that_breaks_off_is_not_whole() {
        let sandbox = Sandbox::new();
        let path = sandbox.places().archived(NAME).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::create_dir(&path).unwrap();
        let stream = served(&sandbox, &WalCodec::default(), &format!("{NAME}\n"));
        assert!(matches!(files(&stream).unwrap()[0].1, End::Failed(_)));
        sandbox.write(&format!("incoming/{NEXT}"), &segment(NEXT, 1));
        let stream = served(&sandbox, &WalCodec::default(), &format!("{NEXT}\n"));
        for length in [0, 3, 4, 5, 100_000, stream.len() - 6, stream.len() - 1] {
            let cut = &stream[..length];
            assert!(cut.is_empty() || files(cut).is_err(), "{length}");
        }
        /// A client that is gone.
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if bytes == GREETING {
                    Ok(bytes.len())
                } else {
                    Err(io::ErrorKind::BrokenPipe.into())
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let names = format!("{NEXT}\n{NEXT}\n");
        let sent = serve(
            &sandbox.places(),
            &WalCodec::default(),
            Form::Plain,
            names.as_bytes(),
            Gone,
        );
        assert_eq!(sent.unwrap(), Sent::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = files(&bytes);
        }
    }
}

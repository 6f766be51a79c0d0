//! Frames: how messages and bulk data share one byte stream.
//!
//! ```text
//! u32  length of the payload, little-endian, at most MAX_PAYLOAD
//! u8   kind: 1 message (postcard), 2 data (raw bytes); 0x80 added when the payload is zstd-compressed
//! …    payload
//! ```
//!
//! Both ends bound what they allocate by [`MAX_PAYLOAD`], compressed or not, whatever the stream says.

use std::io::{self, BufReader, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest payload, before compression.
pub const MAX_PAYLOAD: usize = (1 << 20) + (64 << 10);
/// Payloads shorter than this are not worth compressing.
const COMPRESS_FROM: usize = 512;
/// zstd's fastest regular level: keeps up with a gigabit link on one core.
const LEVEL: i32 = 1;
/// Small frames are collected up to this many bytes; longer payloads go out uncopied.
const COLLECT: usize = 64 << 10;

const MESSAGE: u8 = 1;
const DATA: u8 = 2;
const COMPRESSED: u8 = 0x80;

/// A stream of frames that broke.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Reading or writing the stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The stream ended.
    #[error("the other side closed the connection")]
    Closed,
    /// What arrived is not what this protocol says.
    #[error("protocol error: {0}")]
    Protocol(String),
}

/// One frame as it arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An encoded message: see [`decode`].
    Message(&'a [u8]),
    /// Raw bytes.
    Data(&'a [u8]),
}

/// Decodes the payload of a message frame.
///
/// # Errors
/// The bytes are not such a message.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FrameError> {
    postcard::from_bytes(payload)
        .map_err(|error| FrameError::Protocol(format!("unreadable message: {error}")))
}

/// Writes frames.
pub struct FrameWriter<W: Write> {
    stream: W,
    collected: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
    written: u64,
}

impl<W: Write> FrameWriter<W> {
    /// A writer of uncompressed frames.
    pub fn new(stream: W) -> Self {
        FrameWriter {
            stream,
            collected: Vec::with_capacity(COLLECT),
            compressor: None,
            written: 0,
        }
    }

    /// Compresses from now on.
    ///
    /// # Errors
    /// zstd could not be set up.
    pub fn compress(&mut self) -> Result<(), FrameError> {
        self.compressor = Some(zstd::bulk::Compressor::new(LEVEL)?);
        Ok(())
    }

    /// Sends a message; it may stay in the buffer until [`FrameWriter::flush`].
    ///
    /// # Errors
    /// The message is too long, or the stream failed.
    pub fn message<T: Serialize>(&mut self, message: &T) -> Result<(), FrameError> {
        let payload = postcard::to_stdvec(message)
            .map_err(|error| FrameError::Protocol(format!("message: {error}")))?;
        self.frame(MESSAGE, &payload)
    }

    /// Sends raw bytes, at most [`MAX_PAYLOAD`].
    ///
    /// # Errors
    /// The stream failed.
    pub fn data(&mut self, payload: &[u8]) -> Result<(), FrameError> {
        self.frame(DATA, payload)
    }

    /// Hands everything to the stream.
    ///
    /// # Errors
    /// The stream failed.
    pub fn flush(&mut self) -> Result<(), FrameError> {
        if !self.collected.is_empty() {
            self.stream.write_all(&self.collected)?;
            self.collected.clear();
        }
        self.stream.flush()?;
        Ok(())
    }

    /// Bytes handed over so far, headers included.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> Result<(), FrameError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(FrameError::Protocol(format!(
                "payload of {} bytes is too long to send",
                payload.len()
            )));
        }
        if let Some(compressor) = self
            .compressor
            .as_mut()
            .filter(|_| payload.len() >= COMPRESS_FROM)
        {
            let smaller = compressor.compress(payload)?;
            if smaller.len() < payload.len() {
                return self.put(kind | COMPRESSED, &smaller);
            }
        }
        self.put(kind, payload)
    }

    fn put(&mut self, kind: u8, payload: &[u8]) -> Result<(), FrameError> {
        let length =
            u32::try_from(payload.len()).map_err(|_| FrameError::Protocol("payload too long".to_owned()))?;
        self.written += 5 + u64::from(length);
        self.collected.extend_from_slice(&length.to_le_bytes());
        self.collected.push(kind);
        if self.collected.len() + payload.len() <= COLLECT {
            self.collected.extend_from_slice(payload);
            return Ok(());
        }
        self.stream.write_all(&self.collected)?;
        self.collected.clear();
        self.stream.write_all(payload)?;
        Ok(())
    }
}

/// Reads frames.
pub struct FrameReader<R: Read> {
    stream: BufReader<R>,
    payload: Vec<u8>,
    plain: Vec<u8>,
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
    read: u64,
}

impl<R: Read> FrameReader<R> {
    /// A reader of frames, compressed or not.
    pub fn new(stream: R) -> Self {
        FrameReader {
            stream: BufReader::with_capacity(COLLECT, stream),
            payload: Vec::new(),
            plain: Vec::new(),
            decompressor: None,
            read: 0,
        }
    }

    /// The buffered stream below, for what precedes the first frame.
    pub fn stream(&mut self) -> &mut BufReader<R> {
        &mut self.stream
    }

    /// Bytes taken so far, headers included.
    pub fn consumed(&self) -> u64 {
        self.read
    }

    /// The next frame, or `None` when the stream ended between two frames.
    ///
    /// # Errors
    /// The stream failed, ended within a frame, or says what the protocol does not allow.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let mut header = [0_u8; 5];
        if !read_first(&mut self.stream, &mut header)? {
            return Ok(None);
        }
        let [a, b, c, d, kind] = header;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > MAX_PAYLOAD {
            return Err(FrameError::Protocol(format!(
                "frame of {length} bytes is too long"
            )));
        }
        self.payload.resize(length, 0);
        read_all(&mut self.stream, &mut self.payload)?;
        self.read += 5 + length as u64;
        let payload = if kind & COMPRESSED == 0 {
            &self.payload
        } else {
            self.decompress()?
        };
        match kind & !COMPRESSED {
            MESSAGE => Ok(Some(Frame::Message(payload))),
            DATA => Ok(Some(Frame::Data(payload))),
            other => Err(FrameError::Protocol(format!("unknown frame kind {other}"))),
        }
    }

    fn decompress(&mut self) -> Result<&Vec<u8>, FrameError> {
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(zstd::bulk::Decompressor::new()?),
        };
        // Never grows beyond its capacity: a longer content is an error of zstd.
        self.plain.clear();
        self.plain.reserve_exact(MAX_PAYLOAD);
        decompressor.decompress_to_buffer(&self.payload, &mut self.plain)?;
        Ok(&self.plain)
    }
}

/// Fills `buffer`; false when the stream was at its end before the first byte.
fn read_first(stream: &mut impl Read, buffer: &mut [u8]) -> Result<bool, FrameError> {
    let Some((first, rest)) = buffer.split_first_mut() else {
        return Ok(true);
    };
    let first = std::slice::from_mut(first);
    loop {
        match stream.read(first) {
            Ok(0) => return Ok(false),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    read_all(stream, rest)?;
    Ok(true)
}

fn read_all(stream: &mut impl Read, buffer: &mut [u8]) -> Result<(), FrameError> {
    stream.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FrameError::Closed,
        _ => FrameError::Io(error),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn sent(compress: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = FrameWriter::new(&mut bytes);
        if compress {
            writer.compress().unwrap();
        }
        writer.message(&("list", 7_u32)).unwrap();
        writer.data(&[0; 0]).unwrap();
        writer.data(&vec![7_u8; 300_000]).unwrap();
        writer.flush().unwrap();
        bytes
    }

    #[test]
    fn frames_survive_with_and_without_compression() {
        for compress in [false, true] {
            let bytes = sent(compress);
            assert!(!compress || bytes.len() < 10_000, "compression saves bytes");
            let mut reader = FrameReader::new(&bytes[..]);
            let Some(Frame::Message(message)) = reader.next_frame().unwrap() else {
                panic!("message")
            };
            assert_eq!(decode::<(String, u32)>(message).unwrap(), ("list".to_owned(), 7));
            assert_eq!(reader.next_frame().unwrap(), Some(Frame::Data(&[][..])));
            let Some(Frame::Data(data)) = reader.next_frame().unwrap() else {
                panic!("data")
            };
            assert_eq!(data, &vec![7_u8; 300_000][..]);
            assert!(reader.next_frame().unwrap().is_none());
        }
    }

    #[test]
    fn hostile_streams_are_refused_without_large_allocations() {
        let too_long = [0xFF, 0xFF, 0xFF, 0xFF, DATA];
        assert!(matches!(
            FrameReader::new(&too_long[..]).next_frame(),
            Err(FrameError::Protocol(_))
        ));
        let cut = [10, 0, 0, 0, DATA, 1, 2];
        assert!(matches!(
            FrameReader::new(&cut[..]).next_frame(),
            Err(FrameError::Closed)
        ));
        let unknown = [0, 0, 0, 0, 9];
        assert!(matches!(
            FrameReader::new(&unknown[..]).next_frame(),
            Err(FrameError::Protocol(_))
        ));
        // A bomb: 64 MiB of zeros in a few kilobytes.
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
        let mut bytes = u32::try_from(bomb.len()).unwrap().to_le_bytes().to_vec();
        bytes.push(DATA | COMPRESSED);
        bytes.extend(bomb);
        assert!(FrameReader::new(&bytes[..]).next_frame().is_err());
        assert!(decode::<(String, u32)>(&[0xFF; 3]).is_err());
    }
}

//! Compressing streams.

use std::io::{self, Write};

use super::algorithm::{Compression, Level};

/// A writer that compresses. It must be ended by [`Encoder::finish`]: dropping it would leave a truncated file and hide
/// the error.
pub enum Encoder<W: Write> {
    /// gzip.
    Gzip(flate2::write::GzEncoder<W>),
    /// bzip2.
    Bzip2(bzip2::write::BzEncoder<W>),
    /// xz.
    Xz(liblzma::write::XzEncoder<W>),
    /// Zstandard.
    Zstd(zstd::stream::write::Encoder<'static, W>),
    /// LZ4 frame.
    Lz4(Box<lz4_flex::frame::FrameEncoder<W>>),
    /// Snappy frames.
    Snappy(Box<snap::write::FrameEncoder<W>>),
}

impl<W: Write> Encoder<W> {
    /// Starts to compress into `writer`. `None` for custom filters, which are programs and not streams of ours.
    ///
    /// Checksums of the content are switched on where the format has them, so that a damaged file is noticed when it is
    /// read. `lz4_flex` has one strength: the level is ignored for LZ4.
    ///
    /// # Errors
    /// The compressor could not be set up.
    pub fn new(writer: W, compression: Compression, level: Level) -> io::Result<Option<Encoder<W>>> {
        let number = level.resolve(compression);
        let unsigned = u32::try_from(number).unwrap_or(0);
        Ok(Some(match compression.format() {
            Compression::Gzip => Encoder::Gzip(flate2::write::GzEncoder::new(
                writer,
                flate2::Compression::new(unsigned),
            )),
            Compression::Bzip2 => Encoder::Bzip2(bzip2::write::BzEncoder::new(
                writer,
                bzip2::Compression::new(unsigned),
            )),
            Compression::Xz => Encoder::Xz(liblzma::write::XzEncoder::new(writer, unsigned)),
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(writer, number)?;
                encoder.include_checksum(true)?;
                Encoder::Zstd(encoder)
            }
            Compression::Lz4 => {
                let frame = lz4_flex::frame::FrameInfo::new().content_checksum(true);
                Encoder::Lz4(Box::new(lz4_flex::frame::FrameEncoder::with_frame_info(
                    frame, writer,
                )))
            }
            Compression::Snappy => Encoder::Snappy(Box::new(snap::write::FrameEncoder::new(writer))),
            _ => return Ok(None),
        }))
    }

    /// Writes what is left and the format's end, and gives the writer back.
    ///
    /// # Errors
    /// The last bytes could not be written.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Bzip2(encoder) => encoder.finish(),
            Encoder::Xz(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
            Encoder::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Encoder::Snappy(encoder) => encoder
                .into_inner()
                .map_err(|error| io::Error::new(error.error().kind(), error.error().to_string())),
        }
    }

    fn inner(&mut self) -> &mut dyn Write {
        match self {
            Encoder::Gzip(encoder) => encoder,
            Encoder::Bzip2(encoder) => encoder,
            Encoder::Xz(encoder) => encoder,
            Encoder::Zstd(encoder) => encoder,
            Encoder::Lz4(encoder) => encoder,
            Encoder::Snappy(encoder) => encoder,
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.inner().write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner().flush()
    }
}

//! Compressing streams.

use std::io::{self, Write};

use zstd::zstd_safe::CParameter;

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

/// What suits WAL better than level 4, zstd's parameters for `medium`: half the time, for as much or a tenth less. Records are
/// short and much alike: it is matches of five bytes that count, and looking for more of them does not pay.
const ZSTD_FOR_WAL: [CParameter; 3] = [
    CParameter::CompressionLevel(1),
    CParameter::MinMatch(5),
    CParameter::WindowLog(20),
];

/// Compresses bytes that are all there to a gzip file, the first bytes of `packed`. Returns how many. The format is that of
/// the stream; the time, a third.
///
/// # Errors
/// The compressor could not be set up.
pub fn gzip(plain: &[u8], level: Level, packed: &mut Vec<u8>) -> io::Result<usize> {
    let number = match level.resolve(Compression::Gzip) {
        // Segments become as small as with zlib's 6.
        6 => 5,
        other => other,
    };
    let number = libdeflater::CompressionLvl::new(number)
        .map_err(|error| io::Error::other(format!("gzip has no level {number}: {error:?}")))?;
    let mut compressor = libdeflater::Compressor::new(number);
    let bound = compressor.gzip_compress_bound(plain.len());
    if packed.len() < bound {
        // Pages of it that are never written to take no memory.
        *packed = vec![0; bound];
    }
    compressor.gzip_compress(plain, packed).map_err(io::Error::other)
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
                if level == Level::Medium {
                    for parameter in ZSTD_FOR_WAL {
                        encoder.set_parameter(parameter)?;
                    }
                }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;

    #[test]
    fn gzip_at_once_is_read_by_everybody_and_is_no_larger() {
        let plain: Vec<u8> = (0..2_000_000u32)
            .flat_map(|n| (n / 9 * 7).to_le_bytes())
            .collect();
        for level in [Level::Low, Level::Medium, Level::High, Level::Number(99)] {
            let mut packed = Vec::new();
            let length = gzip(&plain, level, &mut packed).unwrap();
            packed.truncate(length);
            let mut read = Vec::new();
            flate2::read::GzDecoder::new(packed.as_slice())
                .read_to_end(&mut read)
                .unwrap();
            assert!(read == plain, "{level:?}");
            let mut stream = Encoder::new(Vec::new(), Compression::Gzip, level)
                .unwrap()
                .unwrap();
            stream.write_all(&plain).unwrap();
            let streamed = stream.finish().unwrap().len();
            assert!(
                packed.len() <= streamed * 103 / 100,
                "{level:?}: {} {streamed}",
                packed.len()
            );
        }
        let mut packed = vec![1; 1000];
        let length = gzip(b"", Level::Medium, &mut packed).unwrap();
        assert!(length < 40 && packed.starts_with(&[0x1F, 0x8B, 8]));
    }
}

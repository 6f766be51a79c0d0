//! Compressing streams.

use std::io::{self, Read, Write};

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

/// What suits WAL better than level 4, zstd's parameters for `medium`: less than half the time, for two hundredths more than level 3,
/// Barman's, needs. Records are short and much alike: it is matches of five bytes that count, and looking for more of them
/// does not pay. Pages come again after a while, so the window is as large as that of level 3.
const ZSTD_FOR_WAL: [CParameter; 4] = [
    CParameter::CompressionLevel(1),
    CParameter::MinMatch(5),
    CParameter::WindowLog(21),
    CParameter::HashLog(15),
];

/// How much of a stream becomes one gzip member, in bytes.
const MEMBER: usize = 1 << 20;

/// Compresses a stream to a gzip file of several members, which is what a stream of gzip makes of it, in a third of the time.
/// Whatever its length, that takes some three times [`MEMBER`] of memory. The members cost half a hundredth of the size.
///
/// # Errors
/// The compressor could not be set up, or reading or writing failed.
pub fn gzip(input: &mut dyn Read, level: Level, output: &mut dyn Write) -> io::Result<()> {
    let number = match level.resolve(Compression::Gzip) {
        // Segments become as small as with zlib's 6.
        6 => 5,
        other => other,
    };
    let number = libdeflater::CompressionLvl::new(number)
        .map_err(|error| io::Error::other(format!("gzip has no level {number}: {error:?}")))?;
    let mut compressor = libdeflater::Compressor::new(number);
    let mut packed = vec![0; compressor.gzip_compress_bound(MEMBER)];
    let mut plain = Vec::with_capacity(MEMBER);
    let mut members = 0_u64;
    loop {
        plain.clear();
        (&mut *input).take(MEMBER as u64).read_to_end(&mut plain)?;
        if plain.is_empty() && members > 0 {
            return Ok(());
        }
        // A file of nothing has one member all the same.
        let length = compressor
            .gzip_compress(&plain, &mut packed)
            .map_err(io::Error::other)?;
        output.write_all(packed.get(..length).unwrap_or_default())?;
        members += 1;
    }
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
    fn gzip_in_members_is_read_by_everybody_and_is_no_larger() {
        let plain: Vec<u8> = (0..2_000_000u32)
            .flat_map(|n| (n / 9 * 7).to_le_bytes())
            .collect();
        for level in [Level::Low, Level::Medium, Level::High, Level::Number(99)] {
            let mut packed = Vec::new();
            gzip(&mut plain.as_slice(), level, &mut packed).unwrap();
            let mut read = Vec::new();
            flate2::read::MultiGzDecoder::new(packed.as_slice())
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
        for length in [0, 1, MEMBER - 1, MEMBER, MEMBER + 1] {
            let mut packed = Vec::new();
            gzip(&mut &plain[..length], Level::Medium, &mut packed).unwrap();
            let mut read = Vec::new();
            flate2::read::MultiGzDecoder::new(packed.as_slice())
                .read_to_end(&mut read)
                .unwrap();
            assert!(
                packed.starts_with(&[0x1F, 0x8B, 8]) && read == plain[..length],
                "{length}"
            );
        }
    }
}

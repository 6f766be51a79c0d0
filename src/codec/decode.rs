//! Decompressing streams. All of them read concatenated members, which are legal in every format, and fail on a stream
//! that ends too early (Snappy excepted, whose frames have no end mark: callers compare sizes).

use std::io::{self, BufRead, BufReader, Read};

use liblzma::stream::{CONCATENATED, Stream};

use super::algorithm::Compression;

/// How much is read from the source at a time.
const BUFFER: usize = 256 * 1024;

/// The most memory that an xz stream may ask for: four times what `xz -9` needs. Zstandard has a limit of its own.
const XZ_MEMORY: u64 = 256 * 1024 * 1024;

/// A reader of the plain bytes of a compressed stream; `None` for custom filters, which are programs.
///
/// # Errors
/// The decompressor could not be set up.
pub fn reader<'a, R: Read + Send + 'a>(
    source: R,
    compression: Compression,
) -> io::Result<Option<Box<dyn Read + Send + 'a>>> {
    let source = BufReader::with_capacity(BUFFER, source);
    Ok(Some(match compression.format() {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED).map_err(io::Error::other)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(source)?),
        Compression::Lz4 => Box::new(Lz4Frames {
            decoder: lz4_flex::frame::FrameDecoder::new(source),
        }),
        Compression::Snappy => Box::new(snap::read::FrameDecoder::new(source)),
        _ => return Ok(None),
    }))
}

/// LZ4's decoder reports the end of the stream after each frame; this one only after the last.
struct Lz4Frames<R: BufRead> {
    decoder: lz4_flex::frame::FrameDecoder<R>,
}

impl<R: BufRead> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let count = self.decoder.read(buffer)?;
            if count > 0 || self.decoder.get_mut().fill_buf()?.is_empty() {
                return Ok(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::{Detector, Level, encode::Encoder};
    use proptest::prelude::*;
    use std::io::Write;

    /// Something like a segment: pages with a header, some text, zeros at the end.
    fn content() -> Vec<u8> {
        let mut bytes = Vec::new();
        for page in 0..64u32 {
            bytes.extend_from_slice(&0xd110u16.to_le_bytes());
            for number in 0..1000u32 {
                bytes.extend_from_slice(&(number.wrapping_mul(2_654_435_761) ^ page).to_le_bytes()[..2]);
                bytes.extend_from_slice(b"row");
            }
        }
        bytes.resize(1 << 20, 0);
        bytes
    }

    fn compress(compression: Compression, level: Level, plain: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), compression, level).unwrap().unwrap();
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn decompress(compression: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        reader(bytes, compression)?.unwrap().read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn streams() -> impl Iterator<Item = Compression> {
        Compression::ALL
            .into_iter()
            .filter(|compression| *compression != Compression::Custom)
    }

    #[test]
    fn every_format_round_trips_and_is_recognised() {
        let plain = content();
        for compression in streams() {
            for level in [Level::Low, Level::Medium, Level::High] {
                let packed = compress(compression, level, &plain);
                assert!(packed.len() < plain.len(), "{compression}");
                assert_eq!(
                    Detector::default().recognise(&packed).compression,
                    Some(compression.format())
                );
                assert!(
                    decompress(compression, &packed).unwrap() == plain,
                    "{compression} {level:?}"
                );
            }
        }
    }

    #[test]
    fn concatenated_members_are_read_to_the_end() {
        for compression in streams() {
            let mut packed = compress(compression, Level::Low, b"first ");
            packed.extend(compress(compression, Level::Low, b"second"));
            assert_eq!(
                decompress(compression, &packed).unwrap(),
                b"first second",
                "{compression}"
            );
        }
    }

    #[test]
    fn a_truncated_or_damaged_stream_is_an_error() {
        let plain = content();
        for compression in streams() {
            let packed = compress(compression, Level::Medium, &plain);
            // Snappy's frames have no end mark, but the cut is inside of one here.
            assert!(
                decompress(compression, &packed[..packed.len() - 1]).is_err(),
                "{compression} truncated"
            );
            let mut damaged = packed.clone();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0x55;
            assert!(
                decompress(compression, &damaged).is_err(),
                "{compression} damaged"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic_or_read_on_for_ever(
            mut bytes in prop::collection::vec(any::<u8>(), 0..600),
            which in 0usize..10,
        ) {
            let compression = Compression::ALL[which];
            if let Some(magic) = compression.magic() {
                let mut head = magic.to_vec();
                head.append(&mut bytes);
                let mut plain = reader(head.as_slice(), compression).unwrap().unwrap().take(1 << 24);
                let _ = io::copy(&mut plain, &mut io::sink());
            }
        }

        #[test]
        fn no_damage_makes_a_decoder_panic(position in 0usize..4000, value in any::<u8>(), which in 0usize..10) {
            let compression = Compression::ALL[which];
            if compression != Compression::Custom {
                let mut packed = compress(compression, Level::Low, &content()[..100_000]);
                let position = position % packed.len();
                packed[position] = value;
                let mut plain = reader(packed.as_slice(), compression).unwrap().unwrap().take(1 << 24);
                let _ = io::copy(&mut plain, &mut io::sink());
            }
        }
    }

    #[test]
    fn empty_content_round_trips() {
        for compression in streams() {
            let packed = compress(compression, Level::Medium, b"");
            assert_eq!(decompress(compression, &packed).unwrap(), b"", "{compression}");
        }
    }
}

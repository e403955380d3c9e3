//! The uncompressed bytes of a layer. The compression is told by the first bytes, not by a media type: archives
//! and registries both hold layers whose type says otherwise.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const BUFFER: usize = 128 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const BZIP2: [u8; 3] = *b"BZh";

type Input<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// Reads the uncompressed form of another reader's bytes.
pub(crate) enum Decoder<R: Read> {
    Plain(Input<R>),
    Gzip(Box<MultiGzDecoder<Input<R>>>),
    Zstd(Box<ZstdReader<Input<R>>>),
}

/// The form of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Looks at the first bytes of a stream.
    pub(crate) fn of(from: &mut impl Read) -> io::Result<Self> {
        Self::tell(&first(from)?)
    }

    fn tell(first: &[u8]) -> io::Result<Self> {
        for (magic, name) in [(XZ.as_slice(), "xz"), (BZIP2.as_slice(), "bzip2")] {
            if first.starts_with(magic) {
                return Err(invalid(format!("compression with {name} is not supported")));
            }
        }
        Ok(match first {
            first if first.starts_with(&GZIP) => Self::Gzip,
            first if first.starts_with(&ZSTD) || is_skippable(first) => Self::Zstd,
            _ => Self::None,
        })
    }
}

fn first(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(XZ.len());
    from.take(XZ.len() as u64).read_to_end(&mut first)?;
    Ok(first)
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes and chooses.
    pub(crate) fn new(mut from: R) -> io::Result<Self> {
        let first = first(&mut from)?;
        let compression = Compression::tell(&first)?;
        let input = BufReader::with_capacity(BUFFER, Cursor::new(first).chain(from));
        Ok(match compression {
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => Self::Zstd(Box::new(ZstdReader::new(input))),
            Compression::None => Self::Plain(input),
        })
    }

    /// The reader of the compressed bytes.
    pub(crate) fn get_ref(&self) -> &R {
        let input = match self {
            Self::Plain(input) => input,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => &decoder.source,
        };
        input.get_ref().get_ref().1
    }

    /// The same, to read what the decoder left.
    pub(crate) fn into_inner(self) -> R {
        let input = match self {
            Self::Plain(input) => input,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.source,
        };
        input.into_inner().into_inner().1
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buf),
            Self::Gzip(decoder) => decoder.read(buf),
            Self::Zstd(decoder) => decoder.read(buf),
        }
    }
}

/// Reads all frames of a zstd stream (RFC 8878) one after the other; skippable ones hold tables of contents.
pub(crate) struct ZstdReader<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdReader<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), in_frame: false }
    }

    /// Begins the next frame; `false` at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.in_frame {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.source) {
                Ok(()) => self.in_frame = true,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(error)),
            }
        }
        Ok(true)
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !buf.is_empty() && self.next_frame()? {
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buf);
            }
            if self.decoder.is_finished() {
                self.in_frame = false;
                continue;
            }
            let step = BlockDecodingStrategy::UptoBlocks(1);
            self.decoder.decode_blocks(&mut self.source, step).map_err(invalid)?;
        }
        Ok(0)
    }
}

fn is_skippable(first: &[u8]) -> bool {
    matches!(first, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

//! Who looks at the wall: pictures from a stream, and what is in them.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Of the frames.
const WIDTH: usize = 96;
const HEIGHT: usize = 64;

/// A stream of pictures over one connection.
pub(crate) struct Stream {
    body: BufReader<ureq::BodyReader<'static>>,
}

impl Stream {
    pub(crate) fn new(url: &str) -> Stream {
        let response = ureq::get(url).call().unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("multipart/x-mixed-replace; boundary="), "{kind}");
        Stream { body: BufReader::new(response.into_body().into_reader()) }
    }

    pub(crate) fn next(&mut self) -> Picture {
        let mut length = None;
        loop {
            let mut line = String::new();
            assert!(self.body.read_line(&mut line).unwrap() > 0, "the stream has ended");
            if let Some(number) = line.strip_prefix("Content-Length: ") {
                length = number.trim().parse().ok();
            }
            if line == "\r\n" && length.is_some() {
                break;
            }
        }
        let mut jpeg = vec![0; length.unwrap()];
        self.body.read_exact(&mut jpeg).unwrap();
        Picture::decode(&jpeg)
    }

    /// The first picture that is so, of those of a minute.
    pub(crate) fn until(&mut self, mut is_so: impl FnMut(&Picture) -> bool) -> Picture {
        let begin = Instant::now();
        loop {
            let picture = self.next();
            if is_so(&picture) {
                return picture;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "no picture was as it should be");
        }
    }
}

/// A picture of the wall.
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    pub(crate) fn decode(jpeg: &[u8]) -> Picture {
        let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
        let pixels = decoder.decode().unwrap();
        let (width, height) = decoder.dimensions().unwrap();
        Picture { width, height, pixels }
    }

    /// The tile of this camera.
    pub(crate) fn tile(&self, camera: usize) -> Tile<'_> {
        let columns = self.width / WIDTH;
        Tile { picture: self, x: camera % columns * WIDTH, y: camera / columns * HEIGHT }
    }
}

pub(crate) struct Tile<'a> {
    picture: &'a Picture,
    x: usize,
    y: usize,
}

impl Tile<'_> {
    fn pixels(&self) -> impl Iterator<Item = &[u8]> {
        let place = |y: usize| ((self.y + y) * self.picture.width + self.x) * 3;
        (0..HEIGHT).flat_map(move |y| self.picture.pixels[place(y)..place(y) + WIDTH * 3].chunks_exact(3))
    }

    /// For red, green and blue: as much as half of the pixels have at least.
    pub(crate) fn typical(&self) -> [u8; 3] {
        [0, 1, 2].map(|part| {
            let mut parts: Vec<u8> = self.pixels().map(|pixel| pixel[part]).collect();
            parts.sort_unstable();
            parts[parts.len() / 2]
        })
    }

    /// How many pixels are so.
    pub(crate) fn count(&self, is_so: impl Fn(&[u8]) -> bool) -> usize {
        self.pixels().filter(|pixel| is_so(pixel)).count()
    }

    /// Whether it shows something else: that can't come from the encoding.
    pub(crate) fn differs(&self, other: &Tile<'_>) -> bool {
        let pairs = self.pixels().zip(other.pixels());
        let far = |(one, other): &(&[u8], &[u8])| one.iter().zip(*other).any(|(a, b)| a.abs_diff(*b) > 60);
        pairs.filter(far).count() > WIDTH * HEIGHT / 50
    }
}

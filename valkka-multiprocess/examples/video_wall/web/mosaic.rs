//! The wall as one picture: a tile for each camera.

use font8x8::{BASIC_FONTS, UnicodeFonts};
use jpeg_encoder::{ColorType, Encoder};
use valkka_multiprocess::RemoteError;
use valkka_multiprocess::memory::SharedArray;

use super::{Health, Status};

const QUALITY: u8 = 80;
const GREY: u8 = 96;
const WHITE: u8 = 255;
/// Of a character, before it is enlarged.
const GLYPH: usize = 8;

/// Where the tiles are, and what is in them.
pub(crate) struct Mosaic {
    /// Those of each camera.
    arrays: Vec<Vec<SharedArray<u8>>>,
    columns: usize,
    width: usize,
    height: usize,
}

/// Rows of red, green and blue.
#[derive(Default)]
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// A part of the canvas.
struct Tile<'a> {
    canvas: &'a mut Canvas,
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Mosaic {
    /// With tiles of this size, in about as many rows as columns.
    pub(crate) fn new(arrays: Vec<Vec<SharedArray<u8>>>, width: usize, height: usize) -> Mosaic {
        let columns = (1..).find(|columns| columns * columns >= arrays.len()).unwrap_or(1);
        Mosaic { arrays, columns, width, height }
    }

    pub(crate) fn tiles(&self) -> usize {
        self.arrays.len()
    }

    /// Draws each camera's frame, or why there is none.
    pub(crate) fn draw(
        &self,
        canvas: &mut Canvas,
        shown: &[Option<usize>],
        statuses: &[Status],
    ) -> Result<(), RemoteError> {
        let rows = self.arrays.len().div_ceil(self.columns);
        canvas.resize(self.columns * self.width, rows * self.height);
        for (number, arrays) in self.arrays.iter().enumerate() {
            let (x, y) = (number % self.columns * self.width, number / self.columns * self.height);
            let mut tile = Tile { canvas, x, y, width: self.width, height: self.height };
            let status = statuses.get(number);
            let name = status.map_or("", |status| &status.name);
            let frame = shown[number].and_then(|buffer| arrays.get(buffer));
            match (status.map(|status| &status.health), frame) {
                (Some(Health::Down(reason)), _) => tile.explain(&format!("{name}: {reason}")),
                (_, None) => tile.explain(&format!("{name}: no frame yet")),
                (Some(Health::Stale), Some(frame)) => {
                    tile.show(frame)?;
                    tile.darken(self.height);
                    tile.write(0, &format!("{name} is silent"));
                }
                (_, Some(frame)) => {
                    tile.show(frame)?;
                    tile.darken(GLYPH * tile.zoom());
                    tile.write(0, name);
                }
            }
        }
        Ok(())
    }
}

impl Tile<'_> {
    fn row(&mut self, y: usize) -> &mut [u8] {
        let at = ((self.y + y) * self.canvas.width + self.x) * 3;
        &mut self.canvas.pixels[at..at + self.width * 3]
    }

    /// Copies a frame from where the camera has written it.
    fn show(&mut self, frame: &SharedArray<u8>) -> Result<(), RemoteError> {
        for y in 0..self.height {
            frame.read_into(y * self.width * 3, self.row(y))?;
        }
        Ok(())
    }

    /// So many rows from the top, in which white can be read then.
    fn darken(&mut self, rows: usize) {
        for y in 0..rows {
            self.row(y).iter_mut().for_each(|part| *part /= 3);
        }
    }

    /// A grey tile with a text.
    fn explain(&mut self, text: &str) {
        for y in 0..self.height {
            self.row(y).fill(GREY);
        }
        let letters: Vec<char> = text.chars().collect();
        let in_a_line = (self.width / (GLYPH * self.zoom())).max(1);
        for (line, letters) in letters.chunks(in_a_line).enumerate() {
            self.write(line, &letters.iter().collect::<String>());
        }
    }

    /// So large are letters in a tile of this size.
    fn zoom(&self) -> usize {
        (self.width / 240).max(1)
    }

    /// Writes as much of a line of text as there is room for.
    fn write(&mut self, line: usize, text: &str) {
        let zoom = self.zoom();
        let size = GLYPH * zoom;
        let top = line * (size + zoom);
        if top + size > self.height {
            return;
        }
        for (place, letter) in text.chars().take(self.width / size).enumerate() {
            let glyph = BASIC_FONTS.get(letter).unwrap_or([0; GLYPH]);
            for y in 0..size {
                let bits = glyph[y / zoom];
                let row = self.row(top + y);
                for x in (0..size).filter(|x| bits >> (x / zoom) & 1 == 1) {
                    let at = (place * size + x) * 3;
                    row[at..at + 3].fill(WHITE);
                }
            }
        }
    }
}

impl Canvas {
    fn resize(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        self.pixels.resize(width * height * 3, GREY);
    }

    pub(crate) fn to_jpeg(&self) -> Result<Vec<u8>, RemoteError> {
        let mut jpeg = Vec::new();
        let encoder = Encoder::new(&mut jpeg, QUALITY);
        encoder.encode(
            &self.pixels,
            u16::try_from(self.width)?,
            u16::try_from(self.height)?,
            ColorType::Rgb,
        )?;
        Ok(jpeg)
    }
}

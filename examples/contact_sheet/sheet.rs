//! Tiles as rows of a PNG: one row of tiles is in memory, however many there are.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::decode::Tile;
use crate::reason::Reason;
use crate::text::{self, LETTER};

/// Between tiles, and around them.
const GAP: u32 = 6;
/// For the name below a tile.
const LABEL: u32 = LETTER + 4;
const GROUND: [u8; 3] = [34, 36, 40];
const BOARD: [u8; 3] = [48, 51, 56];
const FAILED: [u8; 3] = [96, 30, 34];
const INK: [u8; 3] = [222, 224, 228];

pub(crate) struct Sheet {
    /// None at the end.
    rows: Option<png::StreamWriter<'static, BufWriter<File>>>,
    /// It has the sheet's name when it is whole.
    part: PathBuf,
    whole: PathBuf,
    columns: u32,
    tile: u32,
    /// The row of tiles that is being drawn.
    band: Band,
    /// How many tiles are in it.
    filled: u32,
}

struct Band {
    width: u32,
    pixels: Vec<u8>,
}

impl Sheet {
    /// Of so many tiles.
    pub(crate) fn create(path: &Path, tiles: usize, columns: Option<u32>, tile: u32) -> io::Result<Sheet> {
        let tiles = u32::try_from(tiles).map_err(|_| io::Error::other("too many files"))?;
        let columns = columns.unwrap_or_else(|| f64::from(tiles).sqrt().ceil() as u32).clamp(1, tiles.max(1));
        let rows = tiles.div_ceil(columns);
        let (width, height) = (columns * (tile + GAP) + GAP, band_height(tile).checked_mul(rows));
        // Which no program shows, and PNG has no room for.
        let height = height.and_then(|height| height.checked_add(GAP)).filter(|height| *height < 1 << 31);
        let height =
            height.ok_or_else(|| io::Error::other("the sheet would be too high: more --columns?"))?;

        let name = path.file_name().ok_or_else(|| io::Error::other("the sheet has no name"))?;
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".part-{}", std::process::id()));
        let part = path.with_file_name(part);
        let file = BufWriter::new(File::create(&part)?);
        let mut encoder = png::Encoder::new(file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let rows = encoder.write_header().and_then(png::Writer::into_stream_writer);
        let rows = Some(rows.map_err(io::Error::other)?);
        let band = Band { width, pixels: Vec::new() };
        let mut sheet = Sheet { rows, part, whole: path.to_owned(), columns, tile, band, filled: 0 };
        sheet.band.clear(GAP + band_height(tile));
        Ok(sheet)
    }

    /// The next one, with its name below it.
    pub(crate) fn add(&mut self, name: &str, picture: &Result<Tile, Reason>) -> io::Result<()> {
        let top = self.band.height() - band_height(self.tile);
        let left = GAP + self.filled * (self.tile + GAP);
        let letters = (self.tile / LETTER) as usize;
        match picture {
            Ok(picture) => {
                self.band.fill((left, top), (self.tile, self.tile), BOARD);
                let at = (left + (self.tile - picture.width) / 2, top + (self.tile - picture.height) / 2);
                self.band.copy(at, picture.width, &picture.pixels);
            }
            Err(reason) => {
                self.band.fill((left, top), (self.tile, self.tile), FAILED);
                let lines = (self.tile / (LETTER + 2)).saturating_sub(1) as usize;
                let lines = text::wrap(&reason.to_string(), letters.saturating_sub(1), lines);
                for (line, place) in lines.iter().zip(0u32..) {
                    self.band.write((left + LETTER / 2, top + LETTER / 2 + place * (LETTER + 2)), line);
                }
            }
        }
        let name = text::fit(name, letters);
        let indent = (self.tile - name.chars().count() as u32 * LETTER) / 2;
        self.band.write((left + indent, top + self.tile + 2), &name);
        self.filled += 1;
        if self.filled == self.columns { self.flush() } else { Ok(()) }
    }

    /// Writes what is left, and gives the sheet its name.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.filled > 0 {
            self.flush()?;
        }
        let rows = self.rows.take().ok_or_else(|| io::Error::other("it is finished"))?;
        rows.finish().map_err(io::Error::other)?;
        fs::rename(&self.part, &self.whole)
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.write_all(&self.band.pixels)?;
        }
        self.filled = 0;
        self.band.clear(band_height(self.tile));
        Ok(())
    }
}

/// A sheet that isn't whole is none.
impl Drop for Sheet {
    fn drop(&mut self) {
        // The encoder would write the end of a picture that hasn't one.
        drop(self.rows.take());
        let _ = fs::remove_file(&self.part);
    }
}

/// Of a row of tiles, with the gap below it.
fn band_height(tile: u32) -> u32 {
    tile + LABEL + GAP
}

impl Band {
    fn clear(&mut self, height: u32) {
        self.pixels.clear();
        self.pixels.extend(GROUND.repeat(self.width as usize * height as usize));
    }

    fn height(&self) -> u32 {
        self.pixels.len() as u32 / 3 / self.width
    }

    /// Where the pixels of a row begin.
    fn row(&mut self, (x, y): (u32, u32), width: u32) -> &mut [u8] {
        let begin = 3 * (y as usize * self.width as usize + x as usize);
        &mut self.pixels[begin..begin + 3 * width as usize]
    }

    fn fill(&mut self, (x, y): (u32, u32), (width, height): (u32, u32), colour: [u8; 3]) {
        for line in 0..height {
            self.row((x, y + line), width).copy_from_slice(&colour.repeat(width as usize));
        }
    }

    fn copy(&mut self, (x, y): (u32, u32), width: u32, pixels: &[u8]) {
        for (line, row) in pixels.chunks_exact(3 * width as usize).zip(0u32..) {
            self.row((x, y + row), width).copy_from_slice(line);
        }
    }

    fn write(&mut self, (x, y): (u32, u32), text: &str) {
        for (right, down) in text::pixels(text) {
            self.row((x + right, y + down), 1).copy_from_slice(&INK);
        }
    }
}

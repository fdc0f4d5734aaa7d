//! What a camera sees: a pattern that moves, or pictures that pass by.

use std::fs;
use std::path::{Path, PathBuf};

use valkka_multiprocess::RemoteError;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::settings::Frames;

/// A background for each camera, of which no two that are neighbours are alike.
const COLOURS: [[u8; 3]; 6] =
    [[200, 40, 40], [40, 160, 40], [50, 70, 210], [190, 160, 30], [160, 50, 180], [30, 160, 170]];

/// So many pixels per frame does everything move.
const SPEED: usize = 4;
/// For so many frames is each picture shown.
const PICTURE_FRAMES: u64 = 30;

pub(crate) struct Pictures {
    width: usize,
    height: usize,
    colour: [u8; 3],
    /// Each as large as a frame. None: the pattern.
    images: Vec<Vec<u8>>,
    pixels: Vec<u8>,
}

impl Pictures {
    pub(crate) fn new(number: usize, frames: &Frames) -> Result<Pictures, RemoteError> {
        let (width, height) = (frames.width, frames.height);
        let images = match &frames.images {
            None => Vec::new(),
            Some(directory) => images(directory, width, height)?,
        };
        let colour = COLOURS[number % COLOURS.len()];
        Ok(Pictures { width, height, colour, images, pixels: vec![0; width * height * 3] })
    }

    /// The pixels of a frame: rows of red, green and blue.
    pub(crate) fn draw(&mut self, frame: u64) -> &[u8] {
        let shift = (frame as usize).wrapping_mul(SPEED) % self.width;
        let shown = (frame / PICTURE_FRAMES) as usize;
        match self.images.get(shown % self.images.len().max(1)) {
            Some(image) => {
                let rows =
                    self.pixels.chunks_exact_mut(self.width * 3).zip(image.chunks_exact(self.width * 3));
                for (row, source) in rows {
                    row.copy_from_slice(source);
                    row.rotate_left(shift * 3);
                }
            }
            None => self.draw_pattern(shift),
        }
        &self.pixels
    }

    /// A background with a bright bar that wanders, and slanting shades.
    fn draw_pattern(&mut self, shift: usize) {
        let bar = self.width / 8;
        for y in 0..self.height {
            for x in 0..self.width {
                let in_bar = (x + self.width - shift) % self.width < bar;
                let shade = ((x + y + shift) % 64) as u8 / 4;
                let at = (y * self.width + x) * 3;
                for (part, colour) in self.pixels[at..at + 3].iter_mut().zip(self.colour) {
                    *part = if in_bar { 255 } else { colour + shade };
                }
            }
        }
    }
}

/// The JPEG files of a directory, in the order of their names.
fn images(directory: &Path, width: usize, height: usize) -> Result<Vec<Vec<u8>>, RemoteError> {
    let entries = fs::read_dir(directory).map_err(|error| at(directory, &error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jpg" || extension == "jpeg"));
    paths.sort();
    if paths.is_empty() {
        return Err(at(directory, &"there is no JPEG file here"));
    }
    paths.iter().map(|path| image(path, width, height)).collect()
}

fn image(path: &Path, width: usize, height: usize) -> Result<Vec<u8>, RemoteError> {
    let bytes = fs::read(path).map_err(|error| at(path, &error))?;
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes), options);
    let pixels = decoder.decode().map_err(|error| at(path, &error))?;
    let (w, h) = decoder.dimensions().ok_or_else(|| at(path, &"it has no size"))?;
    let mut scaled = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let at = ((y * h / height) * w + x * w / width) * 3;
            scaled.extend_from_slice(&pixels[at..at + 3]);
        }
    }
    Ok(scaled)
}

fn at(path: &Path, problem: &dyn std::fmt::Display) -> RemoteError {
    RemoteError::msg(format_args!("{}: {problem}", path.display()))
}

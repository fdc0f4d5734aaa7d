//! What a worker does: bytes from anybody become a small picture.

use std::io::Cursor;

use image::error::{ImageError, LimitErrorKind};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use multiprocess::memory::{FrozenArray, SharedArray};
use serde::{Deserialize, Serialize};

use super::reason::Reason;

/// A file that is to be decoded.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    /// What is in it. What couldn't be read fails in its turn, like everything else.
    pub(crate) file: Result<FrozenArray<u8>, Reason>,
    /// What its name ends with: one of the formats can't be told by its first bytes.
    pub(crate) extension: String,
    /// How wide and high the small picture may be.
    pub(crate) tile: u32,
    /// How much memory the decoding may take, in bytes.
    pub(crate) max_memory: u64,
}

/// A small picture.
#[derive(Serialize, Deserialize)]
pub(crate) struct Tile {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Red, green, blue; row by row, from the top.
    pub(crate) pixels: FrozenArray<u8>,
    /// The most memory that the worker has had until now, in KiB.
    pub(crate) peak: u64,
}

impl Tile {
    /// Whether it is what was asked for: the worker has seen bytes from anybody, and may be somebody else's by now.
    pub(crate) fn is_sound(&self, tile: u32) -> bool {
        let fits = |side| (1..=tile).contains(&side);
        fits(self.width)
            && fits(self.height)
            && self.pixels.len() == 3 * self.width as usize * self.height as usize
    }
}

/// Runs in a worker.
pub(crate) fn decode(job: Job) -> Result<Tile, Reason> {
    let (width, height, pixels) = small(&job.file?, &job.extension, job.tile, job.max_memory)?;
    let pixels = SharedArray::from_slice(&pixels).and_then(SharedArray::freeze);
    let pixels = pixels.map_err(|error| Reason::Failed(error.to_string()))?;
    let used = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let peak = used.map_or(0, |used| used.max_rss().unsigned_abs());
    Ok(Tile { width, height, pixels, peak })
}

/// A picture that fits into a square, upright, and its width and height.
pub(crate) fn small(
    bytes: &[u8],
    extension: &str,
    tile: u32,
    max_memory: u64,
) -> Result<(u32, u32, Vec<u8>), Reason> {
    let mut reader = ImageReader::new(Cursor::new(bytes));
    // By its first bytes: anybody can give any name to anything. One format has none that tell.
    let by_name = || ImageFormat::from_extension(extension).filter(|format| *format == ImageFormat::Tga);
    let format = image::guess_format(bytes).ok().or_else(by_name);
    reader.set_format(format.ok_or_else(|| Reason::NoPicture("unknown format".to_owned()))?);
    let mut limits = Limits::default();
    limits.max_alloc = Some(max_memory);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(reason)?;
    let orientation = decoder.orientation().map_err(reason)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(Reason::Corrupt("it has no pixels".to_owned()));
    }
    if decoder.total_bytes() > max_memory {
        return Err(Reason::TooLarge(format!("{width} x {height} pixels")));
    }
    let full = on_screen(DynamicImage::from_decoder(decoder).map_err(reason)?);
    let mut small = if width.max(height) > tile { full.thumbnail(tile, tile) } else { full };
    small.apply_orientation(orientation);
    let small = on_grey(small);
    Ok((small.width(), small.height(), small.into_raw()))
}

/// Light as it is measured, and as bright as it was, becomes light as a screen shows it.
fn on_screen(picture: DynamicImage) -> DynamicImage {
    let light = match picture {
        DynamicImage::ImageRgb32F(light) => light,
        light @ DynamicImage::ImageRgba32F(_) => light.into_rgb32f(),
        other => return other,
    };
    // The transfer function of sRGB (IEC 61966-2-1).
    let shown = |light: f32| {
        let light = light.clamp(0.0, 1.0);
        let value = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
        (value * 255.0).round() as u8
    };
    image::RgbImage::from_fn(light.width(), light.height(), |x, y| {
        image::Rgb(light.get_pixel(x, y).0.map(shown))
    })
    .into()
}

/// What can be seen through is on a grey ground.
fn on_grey(picture: DynamicImage) -> image::RgbImage {
    const GREY: u16 = 128;
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    image::RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        let over = |colour: u8| {
            ((u16::from(colour) * u16::from(alpha) + GREY * (255 - u16::from(alpha))) / 255) as u8
        };
        image::Rgb([over(red), over(green), over(blue)])
    })
}

fn reason(error: ImageError) -> Reason {
    match error {
        ImageError::Limits(limit) => match limit.kind() {
            LimitErrorKind::DimensionError => Reason::TooLarge("too wide or too high".to_owned()),
            _ => Reason::TooLarge("more memory than it may take".to_owned()),
        },
        ImageError::Unsupported(what) => Reason::NoPicture(what.to_string()),
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Reason::Corrupt("it ends too early".to_owned())
        }
        other => Reason::Corrupt(other.to_string()),
    }
}

//! The folder of samples: pictures in all formats that can be written here, and files that are none.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use image::{DynamicImage, ImageFormat, Rgb, Rgb32FImage, RgbImage};

pub(crate) struct Samples {
    pub(crate) folder: PathBuf,
    /// How many can be decoded, ...
    pub(crate) good: u64,
    /// ... and how many can't.
    pub(crate) hostile: u64,
}

/// The formats that can be written, by the end of a name.
const FORMATS: [(&str, ImageFormat); 12] = [
    ("bmp", ImageFormat::Bmp),
    ("exr", ImageFormat::OpenExr),
    ("ff", ImageFormat::Farbfeld),
    ("gif", ImageFormat::Gif),
    ("hdr", ImageFormat::Hdr),
    ("ico", ImageFormat::Ico),
    ("jpg", ImageFormat::Jpeg),
    ("png", ImageFormat::Png),
    ("ppm", ImageFormat::Pnm),
    ("qoi", ImageFormat::Qoi),
    ("tga", ImageFormat::Tga),
    ("tiff", ImageFormat::Tiff),
];

pub(crate) fn make() -> Result<Samples, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("contact_sheet-{}", std::process::id()));
    fs::create_dir_all(folder.join("hostile"))?;
    let mut good = 0;
    for ((end, format), turn) in FORMATS.into_iter().zip(0u32..) {
        fs::write(folder.join(format!("sample.{end}")), encoded(format, turn)?)?;
        good += 1;
    }
    fs::write(folder.join("sample.webp"), encoded(ImageFormat::WebP, 12)?)?;
    fs::write(folder.join("texture.dds"), dds())?;
    // A name that is no UTF-8.
    fs::write(folder.join(OsStr::from_bytes(b"caf\xe9.jpg")), encoded(ImageFormat::Jpeg, 13)?)?;
    // The first bytes count, not the name.
    fs::write(folder.join("a-jpeg.png"), encoded(ImageFormat::Jpeg, 14)?)?;
    good += 4;

    let hostile = folder.join("hostile");
    let jpeg = encoded(ImageFormat::Jpeg, 15)?;
    fs::write(hostile.join("cut-off.jpg"), &jpeg[..300])?;
    let mut png = encoded(ImageFormat::Png, 16)?;
    let middle = png.len() / 2;
    png[middle] ^= 0x55;
    fs::write(hostile.join("damaged.png"), png)?;
    fs::write(hostile.join("bomb.png"), bomb()?)?;
    fs::write(hostile.join("text.gif"), "no picture, whatever its name says\n")?;
    fs::write(hostile.join("empty.tiff"), "")?;
    symlink("nowhere", hostile.join("gone.jpg"))?;
    nix::unistd::mkfifo(&hostile.join("never-ends.png"), nix::sys::stat::Mode::S_IRUSR)?;
    Ok(Samples { folder, good, hostile: 7 })
}

/// A sunset over some water, each with another sun.
fn picture(turn: u32) -> RgbImage {
    let (width, height) = (240, 160 + turn * 4);
    let sun = (40.0 + 11.0 * f64::from(turn), 84.0);
    RgbImage::from_fn(width, height, |x, y| {
        let (fx, fy) = (f64::from(x), f64::from(y));
        let distance = ((fx - sun.0).powi(2) + (fy - sun.1).powi(2)).sqrt();
        let water = y > 110;
        let glow = (1.0 - distance / 150.0).max(0.0);
        let wave = if water { 0.12 * (fx / 5.0 + fy * fy / 90.0).sin() } else { 0.0 };
        let light = if distance < 22.0 && !water { 1.0 } else { glow * 0.8 + wave };
        let colour = |low: f64, high: f64| (low + (high - low) * light).clamp(0.0, 255.0) as u8;
        let tint = f64::from(turn % 6) * 18.0;
        Rgb([
            colour(40.0 + tint, 255.0),
            colour(36.0, 214.0),
            colour(if water { 110.0 } else { 84.0 }, 120.0),
        ])
    })
}

fn encoded(format: ImageFormat, turn: u32) -> Result<Vec<u8>, Box<dyn Error>> {
    let picture = DynamicImage::ImageRgb8(picture(turn));
    let picture = match format {
        ImageFormat::OpenExr | ImageFormat::Hdr => {
            let bright = picture.into_rgb8();
            let linear = |value: u8| (f32::from(value) / 255.0).powf(2.2);
            DynamicImage::ImageRgb32F(Rgb32FImage::from_fn(bright.width(), bright.height(), |x, y| {
                Rgb(bright.get_pixel(x, y).0.map(linear))
            }))
        }
        ImageFormat::Farbfeld => DynamicImage::ImageRgba16(picture.into_rgba16()),
        ImageFormat::Gif | ImageFormat::Ico => DynamicImage::ImageRgba8(picture.into_rgba8()),
        _ => picture,
    };
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

/// A picture of 40,000 x 40,000 pixels, all of them black, in few bytes: 4.8 GB, unpacked.
fn bomb() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 40_000, 40_000);
    encoder.set_color(png::ColorType::Rgb);
    // Its head asks for the memory. What follows never gets as far.
    let mut writer = encoder.write_header()?;
    writer.write_chunk(png::chunk::IDAT, &[0x78, 0x9c, 0xed, 0xc1])?;
    drop(writer);
    Ok(bytes)
}

/// A texture in blocks of DXT1, as games have them: 64 x 64 pixels, which shade from one colour to another.
fn dds() -> Vec<u8> {
    const SIDE: u32 = 64;
    let mut words = vec![0u32; 32];
    words[0] = u32::from_le_bytes(*b"DDS ");
    // The length of the head; what it says: size, kind of pixels, and how long the data is.
    (words[1], words[2]) = (124, 0x0008_1007);
    (words[3], words[4]) = (SIDE, SIDE);
    words[5] = SIDE * SIDE / 2;
    (words[19], words[20]) = (32, 4);
    words[21] = u32::from_le_bytes(*b"DXT1");
    words[27] = 0x1000;
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    let blocks = SIDE / 4;
    for block in 0..blocks * blocks {
        let (x, y) = (block % blocks, block / blocks);
        // Five bits of red, six of green, five of blue; four rows of four pixels that mix both colours.
        let colours = [(x * 2) << 11 | (y * 4) << 5 | 20, (y * 2) << 11 | 20];
        bytes.extend(colours.map(|colour| (colour as u16).to_le_bytes()).concat());
        bytes.extend([0b11_10_01_00; 4]);
    }
    bytes
}

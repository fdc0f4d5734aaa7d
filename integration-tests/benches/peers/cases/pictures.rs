//! The main job: pictures decoded and made small, by processes, by threads, by one thread.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use pkit::WorkerPool;
use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};

use crate::case::{Better, Bound, Case, Contender};
use crate::measure::Setting;
use crate::place::Place;
use crate::support::median;
use decode::{Job, decode, small};

#[expect(dead_code, reason = "of the example only what is measured is used")]
#[path = "../../../../examples/contact_sheet/decode.rs"]
mod decode;
#[path = "../../../../examples/contact_sheet/files.rs"]
mod files;
#[path = "../../../../examples/contact_sheet/reason.rs"]
mod reason;

const WORKERS: &str = "pkit::WorkerPool, files and tiles in frozen memory";
const THREADS: &str = "rayon, two threads";

pub(crate) const CASE: Case = Case {
    name: "pictures",
    task: "1,000 JPEG files of 800 x 600 pixels made small, two at once: for each file",
    unit: "us",
    better: Better::Lower,
    places: &[Place::Free],
    contenders: &[
        Contender::ours(WORKERS, workers),
        Contender::limit(THREADS, threads),
        Contender::peer("one thread", one_thread),
    ],
    bounds: &[Bound::ratio(WORKERS, THREADS, 1.15)],
};

const FILES: usize = 1_000;
/// One thread alone would take longer for all of them than a turn may.
const FEWER: usize = FILES / 4;
const TILE: u32 = 160;
const MEMORY: u64 = 512_000_000;

/// A folder with the files, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(files: usize) -> Folder {
        let folder = std::env::temp_dir().join(format!("pictures-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let pictures: Vec<_> = (0..10).map(jpeg).collect();
        for number in 0..files {
            fs::write(folder.join(format!("{number:04}.jpg")), &pictures[number % pictures.len()]).unwrap();
        }
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// With as much in it as a photograph has.
fn jpeg(turn: u32) -> Vec<u8> {
    let mut noise = 0x9e37_79b9_u32 ^ turn;
    let picture = RgbImage::from_fn(800, 600, |x, y| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let wave = ((x * (turn + 3) + y * 7) / 40 % 2 * 60 + (x ^ y) % 64 + (noise >> 28)) as u8;
        Rgb([wave, wave.wrapping_add((x / 8) as u8), wave.wrapping_sub((y / 6) as u8)])
    });
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

fn light(pixels: &[u8]) -> u64 {
    pixels.iter().map(|value| u64::from(*value)).sum()
}

fn each(setting: Setting, count: usize, all: impl Fn(&[PathBuf]) -> u64) -> f64 {
    let folder = Folder::new(count);
    let files = files::below(&folder.0, Path::new("none"), &AtomicBool::new(false)).unwrap().unwrap();
    let mut figures = Vec::new();
    let mut seen = None;
    let begin = Instant::now();
    while begin.elapsed() < setting.time || figures.is_empty() {
        let before = Instant::now();
        let light = all(&files);
        figures.push(before.elapsed().as_nanos() as f64 / 1e3 / count as f64);
        assert!(light > 0 && *seen.get_or_insert(light) == light);
    }
    median(&mut figures)
}

fn workers(setting: Setting) -> f64 {
    let pool = WorkerPool::new(2).unwrap();
    each(setting, FILES, |files| {
        let jobs = files.iter().map(|path| Job {
            file: files::read(path, MEMORY),
            extension: "jpg".to_owned(),
            tile: TILE,
            max_memory: MEMORY,
        });
        pool.map(jobs, decode).ahead(8).map(|tile| light(&tile.unwrap().unwrap().pixels)).sum()
    })
}

fn decode_here(path: &PathBuf) -> u64 {
    let bytes = fs::read(path).unwrap();
    light(&small(&bytes, "jpg", TILE, MEMORY).unwrap().2)
}

fn threads(setting: Setting) -> f64 {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    each(setting, FILES, |files| threads.install(|| files.par_iter().map(decode_here).sum()))
}

fn one_thread(setting: Setting) -> f64 {
    each(setting, FEWER, |files| files.iter().map(decode_here).sum())
}

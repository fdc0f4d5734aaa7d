//! The example `contact_sheet` shows what other files show, whatever is done to it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(feature = "pkit")]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use multiprocess::memory::SharedArray;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[expect(dead_code, reason = "only what a run can't show is looked at from here")]
#[path = "../examples/contact_sheet/decode.rs"]
mod decode;
#[expect(dead_code, reason = "only what a run can't show is looked at from here")]
#[path = "../examples/contact_sheet/files.rs"]
mod files;
#[path = "../examples/contact_sheet/reason.rs"]
mod reason;

/// Where `cargo test` has built it, beside this test.
fn example() -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples/contact_sheet");
    assert!(
        path.exists(),
        "it isn't built: cargo test -p multiprocess builds it, and --test contact_sheet alone doesn't"
    );
    Command::new(path)
}

/// A folder that is gone at the end, and a sheet beside what is in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("contact_sheet-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("in")).unwrap();
        Folder(folder)
    }

    fn put(&self, name: impl AsRef<OsStr>, bytes: &[u8]) {
        fs::write(self.0.join("in").join(name.as_ref()), bytes).unwrap();
    }

    fn command(&self, options: &[&str], sheet: &str) -> Command {
        let mut command = example();
        command.args(options).arg(self.0.join("in")).arg(self.0.join(sheet));
        command
    }

    fn run(&self, options: &[&str], sheet: &str) -> Output {
        self.command(options, sheet).output().unwrap()
    }

    fn names(&self) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const CORNERS: [Rgb<u8>; 4] =
    [Rgb([220, 30, 30]), Rgb([30, 200, 40]), Rgb([40, 60, 210]), Rgb([230, 220, 60])];

/// Another colour in each corner.
fn corners(width: u32, height: u32) -> DynamicImage {
    let corner = |x, y| CORNERS[usize::from(x >= width / 2) + 2 * usize::from(y >= height / 2)];
    RgbImage::from_fn(width, height, corner).into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let picture = match format {
        ImageFormat::OpenExr | ImageFormat::Hdr => {
            // They have light as it is measured.
            let mut light = picture.to_rgb32f();
            light.pixels_mut().for_each(|pixel| pixel.0 = pixel.0.map(|value| value.powf(2.2)));
            light.into()
        }
        ImageFormat::Farbfeld => DynamicImage::ImageRgba16(picture.to_rgba16()),
        ImageFormat::Gif | ImageFormat::Ico => DynamicImage::ImageRgba8(picture.to_rgba8()),
        _ => picture.clone(),
    };
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Four pixels by four, all of them red, as textures are stored.
fn dds() -> Vec<u8> {
    let mut words = [0u32; 32];
    words[..6].copy_from_slice(&[u32::from_le_bytes(*b"DDS "), 124, 0x0008_1007, 4, 4, 8]);
    words[19..22].copy_from_slice(&[32, 4, u32::from_le_bytes(*b"DXT1")]);
    words[27] = 0x1000;
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend([0x00, 0xf8, 0, 0, 0, 0, 0, 0]);
    bytes
}

fn is_near(one: Rgb<u8>, other: Rgb<u8>, by: u8) -> bool {
    one.0.into_iter().zip(other.0).all(|(one, other)| one.abs_diff(other) <= by)
}

const TILE: u32 = 64;
/// Of a row, and of the gap around.
const ROW: u32 = TILE + 18;
const GAP: u32 = 6;

/// Of a sheet of one column: what is at a place of a tile, both from 0 to 1.
fn at(sheet: &RgbImage, tile: u32, x: f64, y: f64) -> Rgb<u8> {
    let place = |fraction: f64| (fraction * f64::from(TILE)) as u32 + GAP;
    *sheet.get_pixel(place(x), tile * ROW + place(y))
}

#[test]
fn each_format_has_its_picture_and_each_other_file_its_reason() {
    let folder = Folder::new("formats");
    let formats = [
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
        ("webp", ImageFormat::WebP),
    ];
    for ((end, format), number) in formats.into_iter().zip(10..) {
        folder.put(format!("{number}.{end}"), &encoded(&corners(120, 120), format));
    }
    folder.put("40.dds", &dds());
    // No UTF-8, and a name that says something else than what is in it.
    folder.put(OsStr::from_bytes(b"50-\xff\xfe.txt"), &encoded(&corners(120, 120), ImageFormat::Jpeg));
    let png = encoded(&corners(120, 120), ImageFormat::Png);
    folder.put("60-cut.png", &png[..png.len() / 2]);
    folder.put("61-none.png", b"\x89PNG but no more of it");
    folder.put("62-empty.gif", b"");
    folder.put("63-\x1b[31m.jpg", b"no picture");
    folder.put(".hidden.png", &png);
    nix::unistd::mkfifo(&folder.0.join("in/64-pipe.png"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.0.join("in/65-gone.png")).unwrap();

    let ran = folder.run(&["--columns", "1", "--tile", "64"], "sheet.png");
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
    let said = text(&ran.stdout);
    assert!(said.contains("15 of 21 files are on the sheet"), "{said}");
    for reason in
        ["60-cut.png: corrupt", "62-empty.gif: no picture", "64-pipe.png: no picture", "No such file"]
    {
        assert!(said.contains(reason), "{reason} in {said}");
    }
    assert!(!said.contains('\x1b'), "a terminal would obey it");

    let sheet = image::open(folder.0.join("sheet.png")).unwrap().into_rgb8();
    assert_eq!(sheet.dimensions(), (TILE + 2 * GAP, 21 * ROW + GAP));
    for (tile, (end, _)) in (0..).zip(formats) {
        for (corner, colour) in CORNERS.into_iter().enumerate() {
            let place = |far: bool| if far { 0.75 } else { 0.25 };
            let found = at(&sheet, tile, place(corner % 2 == 1), place(corner > 1));
            assert!(is_near(found, colour, 30), "{end}: {found:?}, and not {colour:?}");
        }
    }
    assert!(is_near(at(&sheet, 13, 0.5, 0.5), Rgb([255, 0, 0]), 8), "dds");
    assert!(is_near(at(&sheet, 14, 0.25, 0.25), CORNERS[0], 30), "the one whose name is no UTF-8");
    for tile in 15..21 {
        let found = at(&sheet, tile, 0.5, 0.95);
        assert!(is_near(found, Rgb([96, 30, 34]), 0), "{tile}: {found:?}");
    }
    assert_eq!(folder.names(), ["in", "sheet.png"]);
}

/// What a camera writes that was held on its side: this is to be turned to the right.
fn turned(jpeg: &[u8]) -> Vec<u8> {
    // After the first marker: Exif, in which there is a directory of one entry, the orientation.
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0".to_vec();
    exif.extend(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0");
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn it_is_upright_and_keeps_its_proportions() {
    let folder = Folder::new("upright");
    folder.put("a-wide.png", &encoded(&corners(400, 100), ImageFormat::Png));
    folder.put("b-turned.jpg", &turned(&encoded(&corners(400, 200), ImageFormat::Jpeg)));
    let clear = image::RgbaImage::from_pixel(90, 90, image::Rgba([255, 0, 255, 0]));
    folder.put("c-clear.png", &encoded(&clear.into(), ImageFormat::Png));
    let ran = folder.run(&["--columns", "1", "--tile", "64"], "sheet.png");
    assert!(ran.status.success(), "{ran:?}");
    let sheet = image::open(folder.0.join("sheet.png")).unwrap().into_rgb8();
    let board = Rgb([48, 51, 56]);
    let is = |tile, x, y, colour, by| {
        let found = at(&sheet, tile, x, y);
        assert!(is_near(found, colour, by), "{tile} at {x}, {y}: {found:?}, and not {colour:?}");
    };
    is(0, 0.02, 0.45, CORNERS[0], 9);
    is(0, 0.98, 0.55, CORNERS[3], 9);
    // Above and below it is the board that it lies on.
    is(0, 0.5, 0.3, board, 0);
    is(0, 0.5, 0.7, board, 0);
    // What was on the left is above.
    let turned = [CORNERS[2], CORNERS[0], CORNERS[3], CORNERS[1]];
    for (colour, (x, y)) in turned.into_iter().zip([(0.35, 0.2), (0.65, 0.2), (0.35, 0.8), (0.65, 0.8)]) {
        is(1, x, y, colour, 30);
    }
    is(1, 0.1, 0.5, board, 0);
    // Through glass one sees grey.
    is(2, 0.5, 0.5, Rgb([128, 128, 128]), 0);
}

#[test]
fn time_and_memory_are_bounded_for_each_file() {
    let folder = Folder::new("bounds");
    folder.put("a.png", &encoded(&corners(64, 64), ImageFormat::Png));
    folder.put("b-large.png", &encoded(&corners(4000, 4000), ImageFormat::Png));
    folder.put("c.png", &encoded(&corners(64, 64), ImageFormat::Png));
    let ran = folder.run(&["--max-memory", "32"], "small.png");
    let said = text(&ran.stdout);
    assert!(ran.status.code() == Some(2) && said.contains("2 of 3 files"), "{ran:?}");
    assert!(said.contains("b-large.png: too large: 4000 x 4000 pixels"), "{said}");
    let ran = folder.run(&["--timeout", "0.02"], "hasty.png");
    let said = text(&ran.stdout);
    assert!(ran.status.code() == Some(2) && said.contains("b-large.png: took too long"), "{ran:?}");
    assert!(said.contains("1 workers replaced") || said.contains("2 workers replaced"), "{said}");
    let ran = folder.run(&[], "all.png");
    assert!(ran.status.success(), "{ran:?}");
}

#[test]
fn chaos_changes_nothing() {
    let folder = Folder::new("chaos");
    for number in 0..60u32 {
        let format = if number % 2 == 0 { ImageFormat::Png } else { ImageFormat::Jpeg };
        folder.put(format!("{number}"), &encoded(&corners(200 + number, 150), format));
    }
    folder.put("broken", b"GIF89a");
    let calm = folder.run(&[], "calm.png");
    let wild = folder.run(&["--chaos", "--workers", "3"], "wild.png");
    assert_eq!((calm.status.code(), wild.status.code()), (Some(2), Some(2)), "{calm:?} {wild:?}");
    assert!(text(&wild.stdout).contains("killed by chaos"), "{wild:?}");
    let read = |name| fs::read(folder.0.join(name)).unwrap();
    assert!(read("calm.png") == read("wild.png"), "the sheets differ");
}

/// All processes that come from this one.
fn descendants(pid: u32) -> Vec<u32> {
    let children = |pid: u32| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>())
    };
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        all.extend(children(*pid).collect::<Vec<_>>());
        next += 1;
    }
    all.split_off(1)
}

/// Waits for its end, not for ever.
fn ended(mut child: Child) -> Output {
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it goes on: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn ctrl_c_leaves_nothing() {
    let folder = Folder::new("interrupted");
    let picture = encoded(&corners(900, 700), ImageFormat::Png);
    (0..300).for_each(|number| folder.put(format!("{number}.png"), &picture));
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut command = folder.command(&["--workers", "3"], "sheet.png");
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begin = Instant::now();
        while descendants(child.id()).len() < 5 {
            assert!(begin.elapsed() < Duration::from_secs(60), "no workers");
            std::thread::sleep(Duration::from_millis(5));
        }
        let processes = descendants(child.id());
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let ran = ended(child);
        assert_eq!(ran.status.code(), Some(130), "{ran:?}");
        assert!(text(&ran.stderr).contains("interrupted"), "{ran:?}");
        assert_eq!(folder.names(), ["in"]);
        let begin = Instant::now();
        while let Some(pid) = processes.iter().find(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
            assert!(begin.elapsed() < Duration::from_secs(60), "{pid} is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_walk_ends_when_it_is_interrupted() {
    let folder = Folder::new("walk");
    folder.put("one.png", b"");
    let (within, sheet) = (folder.0.join("in"), folder.0.join("sheet.png"));
    let below = |interrupted| files::below(&within, &sheet, &AtomicBool::new(interrupted)).unwrap();
    assert_eq!(below(false), Some(vec![within.join("one.png")]));
    assert_eq!(below(true), None);
}

#[test]
fn a_tile_that_cannot_be_is_not_believed() {
    let is_sound = |width, height, bytes: usize| {
        let pixels = SharedArray::from_slice(&vec![0; bytes]).and_then(SharedArray::freeze).unwrap();
        decode::Tile { width, height, pixels, peak: 0 }.is_sound(TILE)
    };
    assert!(is_sound(TILE, 2, 3 * 2 * TILE as usize));
    assert!(is_sound(1, 1, 3));
    for (width, height, bytes) in [
        (TILE + 1, 1, 3 * 65),
        (1, TILE + 1, 3 * 65),
        (0, 5, 3),
        (2, 2, 11),
        (2, 2, 13),
        (1 << 31, 1 << 31, 3),
    ] {
        assert!(!is_sound(width, height, bytes), "{width} x {height} in {bytes} bytes");
    }
}

#[test]
fn it_says_what_it_wants() {
    let run = |arguments: &[&str]| example().args(arguments).output().unwrap();
    let help = run(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("--max-memory"), "{help:?}");
    let folder = Folder::new("arguments");
    let ran = folder.run(&[], "of-nothing.png");
    assert!(ran.status.code() == Some(1) && text(&ran.stderr).contains("there are no files"), "{ran:?}");
    assert_eq!(folder.names(), ["in"]);
    folder.put("file", b"no picture");
    let place = folder.0.to_str().unwrap();
    for (arguments, what) in [
        (&["--tile", "7"][..], "--tile needs a whole number from 16 to 1024"),
        (&["--timeout"], "--timeout needs a number"),
        (&["--columns", "1.5"], "--columns needs a whole number"),
        (&["--sideways"], "no option --sideways"),
        (&["alone"], "a folder and the name of a sheet"),
        (&["/nowhere", "sheet.png"], "/nowhere: No such file"),
        (&[place, "/nowhere/sheet.png"], "/nowhere/sheet.png: No such file"),
    ] {
        let ran = run(arguments);
        assert_eq!(ran.status.code(), Some(1), "{arguments:?}: {ran:?}");
        assert!(text(&ran.stderr).contains(what), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn without_arguments_it_shows_what_the_readme_shows() {
    let folder = Folder::new("samples");
    let ran = example().args(["--tile", "112", "--columns", "8"]).env("TMPDIR", &folder.0).output().unwrap();
    assert!(ran.status.success() && text(&ran.stdout).contains("16 of 23 files"), "{ran:?}");
    // The samples themselves are gone.
    assert_eq!(folder.names(), ["contact_sheet.png", "in"]);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/contact_sheet/samples.png");
    let [now, then] =
        [folder.0.join("contact_sheet.png"), committed].map(|path| image::open(path).unwrap().into_rgb8());
    assert_eq!(now.dimensions(), then.dimensions());
    // Decoders may round otherwise on another processor.
    let other = now.enumerate_pixels().find(|(x, y, pixel)| !is_near(**pixel, *then.get_pixel(*x, *y), 4));
    assert!(other.is_none(), "examples/contact_sheet/samples.png is out of date: {other:?}");
}

#[test]
fn where_nothing_can_be_said_it_fails_and_leaves_nothing() {
    let folder = Folder::new("full");
    for arguments in [&["--help"][..], &[]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = example().args(arguments).env("TMPDIR", &folder.0).stdout(full).output().unwrap();
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        assert!(text(&ran.stderr).starts_with("contact_sheet: standard output: No space left"), "{ran:?}");
        assert_eq!(folder.names(), ["in"]);
    }
}

//! The example `video_wall`, as its viewers see it: over HTTP, and in a browser where there is one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;
mod viewer;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use program::{Wall, example, patiently};
use viewer::{Picture, Tile};

/// The cameras' backgrounds, in their order.
const COLOURS: [[u8; 3]; 5] = [[200, 40, 40], [40, 160, 40], [50, 70, 210], [190, 160, 30], [160, 50, 180]];
const GREY: [u8; 3] = [96; 3];

/// Whether a tile has a camera's background: that of more than half of its pixels.
fn shows(tile: &Tile<'_>, colour: [u8; 3]) -> bool {
    let typical = tile.typical();
    typical.iter().zip(colour).all(|(seen, painted)| (i32::from(*seen) - i32::from(painted)).abs() < 30)
}

#[test]
fn every_camera_is_shown_and_moves() {
    let wall = Wall::start(&["--cameras", "5"]);
    let mut stream = wall.stream();
    let first = stream.until(|picture| (0..5).all(|camera| shows(&picture.tile(camera), COLOURS[camera])));
    assert_eq!((first.width, first.height), (3 * 96, 2 * 64));
    let mut still: Vec<usize> = (0..5).collect();
    stream.until(|picture| {
        still.retain(|camera| !picture.tile(*camera).differs(&first.tile(*camera)));
        still.is_empty()
    });

    let cameras = wall.cameras();
    assert_eq!(cameras.len(), 5);
    for (number, camera) in cameras.iter().enumerate() {
        assert_eq!(camera["name"], format!("camera-{number}"), "{camera}");
        assert!(camera["alive"] == true && camera["restarts"] == 0 && camera["reason"].is_null(), "{camera}");
        assert!(camera["frames"].as_u64().unwrap() > 1, "{camera}");
        let pid = camera["pid"].as_u64().unwrap();
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        assert_eq!(name, format!("camera-{number}\n"));
    }
    Picture::decode(&wall.get("wall.jpg").1);
    let (status, page) = wall.get("");
    assert!(status == 200 && String::from_utf8(page).unwrap().contains("<title>Video wall</title>"));
    assert_eq!(wall.get("nothing").0, 404);
    assert_eq!(wall.end_by(Signal::SIGINT), "");
}

#[test]
fn a_camera_that_is_killed_comes_back_and_the_stream_goes_on() {
    let wall = Wall::start(&[]);
    let mut stream = wall.stream();
    let before = stream.until(|picture| (0..4).all(|camera| shows(&picture.tile(camera), COLOURS[camera])));
    let pid = wall.pid(1);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let grey = stream.until(|picture| shows(&picture.tile(1), GREY));
    // What has happened is written there, in white.
    assert!(grey.tile(1).count(|pixel| pixel.iter().all(|part| *part > 220)) > 50);
    let mut others = vec![0, 2, 3];
    let back = stream.until(|picture| {
        assert!(others.iter().all(|camera| !shows(&picture.tile(*camera), GREY)));
        others.retain(|camera| !picture.tile(*camera).differs(&grey.tile(*camera)));
        shows(&picture.tile(1), COLOURS[1]) && others.is_empty()
    });
    assert!(back.tile(1).differs(&before.tile(1)) || stream.next().tile(1).differs(&back.tile(1)));
    assert_ne!(wall.pid(1), pid);
    assert_eq!(wall.cameras()[1]["restarts"], 1);
    let errors = wall.end_by(Signal::SIGINT);
    assert!(errors.contains("camera-1: ") && errors.contains("SIGKILL"), "{errors}");
}

#[test]
fn a_camera_that_hangs_is_seen_to_be_stale_and_is_replaced() {
    let wall = Wall::start(&["--hang-timeout", "2"]);
    let mut stream = wall.stream();
    stream.until(|picture| (0..4).all(|camera| shows(&picture.tile(camera), COLOURS[camera])));
    let pid = wall.pid(2);
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    stream.until(|picture| shows(&picture.tile(2), COLOURS[2].map(|part| part / 3)));
    stream.until(|picture| shows(&picture.tile(2), GREY));
    stream.until(|picture| shows(&picture.tile(2), COLOURS[2]));
    assert_ne!(wall.pid(2), pid);
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists());
    let errors = wall.end_by(Signal::SIGTERM);
    assert!(errors.contains("camera-2: no frame for 2s"), "{errors}");
}

#[test]
fn one_that_hangs_at_the_end_is_killed() {
    let wall = Wall::start(&["--cameras", "2"]);
    wall.stream().until(|picture| shows(&picture.tile(0), COLOURS[0]));
    kill(Pid::from_raw(wall.pid(0)), Signal::SIGSTOP).unwrap();
    kill(Pid::from_raw(wall.named("web").unwrap()), Signal::SIGSTOP).unwrap();
    wall.end_by(Signal::SIGINT);
}

#[test]
fn a_web_server_that_is_killed_comes_back_at_the_same_address() {
    let wall = Wall::start(&["--cameras", "2"]);
    wall.stream().until(|picture| shows(&picture.tile(1), COLOURS[1]));
    let pid = wall.named("web").unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    patiently("another web server", || wall.named("web").is_some_and(|other| other != pid));
    let mut stream = wall.stream();
    let first = stream.until(|picture| (0..2).all(|camera| shows(&picture.tile(camera), COLOURS[camera])));
    stream.until(|picture| (0..2).all(|camera| picture.tile(camera).differs(&first.tile(camera))));
    assert!((0..2).all(|camera| wall.cameras()[camera]["restarts"] == 0));
    wall.end_by(Signal::SIGINT);
}

#[test]
fn a_web_server_that_hangs_is_replaced_and_no_camera_is() {
    let wall = Wall::start(&["--cameras", "3", "--hang-timeout", "2"]);
    wall.stream().until(|picture| (0..3).all(|camera| shows(&picture.tile(camera), COLOURS[camera])));
    let cameras = [0, 1, 2].map(|camera| wall.pid(camera));
    let pid = wall.named("web").unwrap();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    patiently("another web server", || wall.named("web").is_some_and(|other| other != pid));
    wall.stream().until(|picture| (0..3).all(|camera| shows(&picture.tile(camera), COLOURS[camera])));
    assert_eq!([0, 1, 2].map(|camera| wall.pid(camera)), cameras);
    let errors = wall.end_by(Signal::SIGINT);
    assert!(errors.contains("the back end web was ended by SIGKILL"), "{errors}");
}

#[test]
fn chaos_is_survived() {
    let wall = Wall::start(&["--cameras", "3", "--chaos"]);
    let mut stream = wall.stream();
    let restarts = |camera: usize| wall.cameras()[camera]["restarts"].as_u64().unwrap();
    patiently("each camera to panic", || {
        stream.next();
        (0..3).all(|camera| restarts(camera) > 0)
    });
    let errors = wall.end_by(Signal::SIGINT);
    assert!(errors.contains("the handler of a timer panicked") && errors.contains("chaos"), "{errors}");
}

#[test]
fn pictures_of_a_directory_are_shown() {
    let directory = env::temp_dir().join(format!("video-wall-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let orange = [230, 120, 10];
    let mut jpeg = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
    encoder.encode(&orange.repeat(50 * 30), 50, 30, jpeg_encoder::ColorType::Rgb).unwrap();
    fs::write(directory.join("orange.jpg"), &jpeg).unwrap();
    let name = directory.to_str().unwrap();
    let wall = Wall::start(&["--cameras", "1", "--images", name]);
    wall.stream().until(|picture| shows(&picture.tile(0), orange));
    wall.end_by(Signal::SIGINT);

    // One that can't be read: the camera says so, again and again, and the wall is there.
    fs::write(directory.join("broken.jpg"), &jpeg[..40]).unwrap();
    let wall = Wall::start(&["--cameras", "1", "--images", name]);
    wall.stream().until(|picture| shows(&picture.tile(0), GREY));
    patiently("the second try", || wall.cameras()[0]["restarts"].as_u64().unwrap() >= 2);
    let reason = wall.cameras()[0]["reason"].to_string();
    assert!(reason.contains("pre_run failed") && reason.contains("broken.jpg"), "{reason}");
    wall.end_by(Signal::SIGINT);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn exit_codes_say_what_happened() {
    let run = |arguments: &[&str]| Command::new(example()).args(arguments).output().unwrap();
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"Usage: video_wall"), "{help:?}");
    let wrong: [&[&str]; 6] = [
        &["--nonsense"],
        &["--cameras"],
        &["--cameras", "0"],
        &["--fps", "1000"],
        &["--size", "320"],
        &["--seconds", "NaN"],
    ];
    for arguments in wrong {
        let refused = run(arguments);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(refused.stderr.starts_with(b"video_wall: "), "{refused:?}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(&["--listen", &address]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&address), "{refused:?}");
    let timed = run(&["--listen", "127.0.0.1:0", "--seconds", "0.5"]);
    assert!(timed.status.success() && timed.stderr.is_empty(), "{timed:?}");
}

#[test]
fn a_browser_shows_it() {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).flat_map(|directory| names.map(|name| directory.join(name)));
    let Some(browser) = places.find(|place| place.is_file()) else {
        println!("SKIPPED: there is no browser in PATH, none of {names:?}");
        return;
    };
    let wall = Wall::start(&[]);
    wall.stream().until(|picture| (0..4).all(|camera| shows(&picture.tile(camera), COLOURS[camera])));
    let profile = env::temp_dir().join(format!("video-wall-browser-{}", std::process::id()));
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=600", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(&wall.url)
        .stderr(Stdio::null());
    let page = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let _ = fs::remove_dir_all(profile);
    let frames = page.split_once("data-frames=\"").and_then(|(_, rest)| rest.split_once('"'));
    let frames: u32 = frames.and_then(|(number, _)| number.parse().ok()).unwrap_or(0);
    assert!(frames > 1, "{page}");
    assert!(page.contains(&format!("<title>Video wall: {frames}</title>")), "{page}");
    for number in 0..4 {
        assert!(page.contains(&format!("<td>camera-{number}</td>")), "{page}");
    }
    wall.end_by(Signal::SIGINT);
}

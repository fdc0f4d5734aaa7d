//! What the program is told.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) const HELP: &str = "\
Usage: video_wall [OPTIONS]

Shows what a number of cameras produce, each in a process of its own, on a page: http://127.0.0.1:8080/ without options.

  --cameras N         how many cameras: 4 without this, 64 at most
  --fps N             frames per second of each: 10 without this, 60 at most
  --size WxH          pixels of a frame: 320x240 without this
  --images DIR        the cameras show the JPEG files of this directory in place of a pattern
  --chaos             the cameras panic now and then
  --hang-timeout SEC  a camera that has sent no frame for so long is replaced, and so is a web server that has given
                      back no buffer: 3 without this
  --listen ADDRESS    where to serve: 127.0.0.1:8080 without this; port 0 is any that is free
  --seconds N         end after so long

Served are / (the page), /wall.mjpeg (a stream of pictures), /wall.jpg (one picture) and /status (JSON).
Try `kill -9` or `kill -STOP` of a camera's process: `pgrep -a camera-`.

Exit code: 0 after Ctrl-C, SIGTERM or --seconds; 1 if it can't serve or start; 2 for wrong arguments.";

/// What the program is told.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) cameras: usize,
    pub(crate) frames: Frames,
    pub(crate) hang_timeout: Duration,
    pub(crate) listen: String,
    pub(crate) ends_after: Option<Duration>,
}

/// What a camera is told.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Frames {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Per second.
    pub(crate) rate: u32,
    pub(crate) images: Option<PathBuf>,
    pub(crate) has_chaos: bool,
}

impl Frames {
    pub(crate) fn period(&self) -> Duration {
        Duration::from_secs(1) / self.rate
    }
}

impl Settings {
    /// `None`: help is asked for.
    pub(crate) fn of_arguments(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Option<Settings>, String> {
        let frames = Frames { width: 320, height: 240, rate: 10, images: None, has_chaos: false };
        let mut settings = Settings {
            cameras: 4,
            frames,
            hang_timeout: Duration::from_secs(3),
            listen: "127.0.0.1:8080".to_owned(),
            ends_after: None,
        };
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value"));
            match option.as_str() {
                "--help" => return Ok(None),
                "--chaos" => settings.frames.has_chaos = true,
                "--cameras" => settings.cameras = number(&value()?, 1, 64)?,
                "--fps" => settings.frames.rate = number(&value()?, 1, 60)?,
                "--size" => (settings.frames.width, settings.frames.height) = size(&value()?)?,
                "--images" => settings.frames.images = Some(value()?.into()),
                "--hang-timeout" => settings.hang_timeout = seconds(&value()?)?,
                "--listen" => settings.listen = value()?,
                "--seconds" => settings.ends_after = Some(seconds(&value()?)?),
                _ => return Err(format!("there is no option {option}")),
            }
        }
        Ok(Some(settings))
    }
}

fn number<T: FromStr + PartialOrd + std::fmt::Display>(text: &str, least: T, most: T) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
    number.ok_or_else(|| format!("{text} is no number from {least} to {most}"))
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let (width, height) = text.split_once('x').ok_or_else(|| format!("{text} is no size, as 320x240 is"))?;
    Ok((number(width, 32, 3840)?, number(height, 32, 2160)?))
}

fn seconds(text: &str) -> Result<Duration, String> {
    Ok(Duration::from_secs_f64(number(text, 0.1, 1e6)?))
}

//! What is asked for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

pub(crate) const HELP: &str = "\
usage: contact_sheet [OPTION]... [DIR OUT.png]

Writes a picture to OUT.png with a tile for each file below DIR, in the order of their names: the picture that is in the
file, or the reason why there is none. Each file is decoded by a worker process; where this program runs as root, as the
user nobody. Hidden files are left out, and links to folders aren't followed. Without DIR and OUT.png it makes a folder of
samples, hostile ones among them, and a sheet of those.

  --columns N     tiles beside each other, 1 to 1000 (default: as many as there are rows, about)
  --tile PX       how wide and high a tile is, 16 to 1024 (default: 160)
  --workers N     processes that decode (default: the number of processors)
  --timeout S     how long a file may take, in seconds (default: 10)
  --max-memory MB how much memory a worker may take, in MB, and how long a file may be; 32 at the least (default: 512)
  --chaos         kill workers at random: the sheet comes out the same
  --help          print this

Exit code: 0 if each file has its picture on the sheet (of the samples: each honest one), 2 if some have the reason there;
1 for wrong arguments, or if there is no sheet at all; 130 after Ctrl-C, which ends it within a second.";

pub(crate) struct Settings {
    /// The folder, and the sheet; none: samples.
    pub(crate) paths: Option<(PathBuf, PathBuf)>,
    pub(crate) columns: Option<u32>,
    /// In pixels.
    pub(crate) tile: u32,
    pub(crate) workers: usize,
    pub(crate) timeout: Duration,
    /// In bytes.
    pub(crate) max_memory: u64,
    pub(crate) chaos: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            paths: None,
            columns: None,
            tile: 160,
            workers: thread::available_parallelism().map_or(1, usize::from),
            timeout: Duration::from_secs(10),
            max_memory: 512_000_000,
            chaos: false,
        }
    }
}

impl Settings {
    /// None: help is wanted.
    pub(crate) fn of_arguments(
        mut arguments: impl Iterator<Item = OsString>,
    ) -> Result<Option<Settings>, String> {
        let mut settings = Settings::default();
        let mut paths = Vec::new();
        while let Some(argument) = arguments.next() {
            let mut number = |from: f64, to: f64, whole: bool| {
                let number = arguments.next().and_then(|number| number.to_str()?.parse::<f64>().ok());
                let fits = |number: &f64| (from..=to).contains(number) && (!whole || number.fract() == 0.0);
                let kind = if whole { "a whole number" } else { "a number" };
                let name = argument.to_string_lossy();
                number.filter(fits).ok_or_else(|| format!("{name} needs {kind} from {from} to {to}"))
            };
            match argument.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--columns") => settings.columns = Some(number(1.0, 1000.0, true)? as u32),
                Some("--tile") => settings.tile = number(16.0, 1024.0, true)? as u32,
                Some("--workers") => settings.workers = number(1.0, 1024.0, true)? as usize,
                Some("--timeout") => {
                    settings.timeout = Duration::from_secs_f64(number(0.001, 86_400.0, false)?)
                }
                Some("--max-memory") => {
                    settings.max_memory = number(32.0, 1_000_000.0, true)? as u64 * 1_000_000
                }
                Some("--chaos") => settings.chaos = true,
                Some(option) if option.starts_with('-') => {
                    return Err(format!("there is no option {option}"));
                }
                _ => paths.push(PathBuf::from(argument)),
            }
        }
        settings.paths = match <[PathBuf; 2]>::try_from(paths) {
            Ok([folder, out]) => Some((folder, out)),
            Err(none) if none.is_empty() => None,
            Err(_) => return Err("it needs a folder and the name of a sheet, or neither".to_owned()),
        };
        Ok(Some(settings))
    }
}

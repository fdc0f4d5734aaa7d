//! What the program is told.

use std::time::Duration;

pub(crate) const HELP: &str = "\
Usage: regex_service [OPTIONS]

Serves on the loopback:

  POST /match       {\"pattern\": .., \"text\": ..} gives {\"matches\": [[start, end], ..]}, in bytes of the text
  GET /statistics   what the workers have done so far, as JSON

Status codes: 200; 400 if the pattern isn't one; 413 if the text is too long; 422 if the search took too long, too much
memory, or found more than an answer may hold; 503 if too much is waiting already. All but 200 have {\"error\": why}.

  --port N        where to listen: 7008 without this; 0 is any that is free
  --workers N     how many processes search: as many as there are processors without this
  --timeout MS    how long a search may take, in milliseconds: 1000 without this
  --memory MIB    how much memory a search may take, in MiB: 256 without this
  --waiting KIB   how much may wait for a worker, in KiB: 1024 without this

SIGTERM and SIGINT (Ctrl-C) end it when it has answered what it was asked.
Exit code: 0 after one of them, 1 if it can't serve or start, 2 for wrong arguments.";

/// What the program is told.
pub(crate) struct Settings {
    pub(crate) port: u16,
    pub(crate) workers: usize,
    pub(crate) timeout: Duration,
    /// Of each worker, in bytes.
    pub(crate) memory: u64,
    /// In bytes.
    pub(crate) waiting: usize,
}

impl Settings {
    /// `None`: help is asked for.
    pub(crate) fn of_arguments(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Option<Settings>, String> {
        let mut settings = Settings {
            port: 7008,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            timeout: Duration::from_secs(1),
            memory: 256 << 20,
            waiting: 1 << 20,
        };
        while let Some(option) = arguments.next() {
            if option == "--help" {
                return Ok(None);
            }
            let mut number = |from: u32, to: u32| {
                let text = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
                let number = text.parse().ok().filter(|number| (from..=to).contains(number));
                number.ok_or_else(|| format!("{option} is a number from {from} to {to}, and not {text:?}"))
            };
            match option.as_str() {
                "--port" => settings.port = number(0, u16::MAX.into())? as u16,
                "--workers" => settings.workers = number(1, 1024)? as usize,
                "--timeout" => settings.timeout = Duration::from_millis(number(1, 3_600_000)?.into()),
                "--memory" => settings.memory = u64::from(number(16, 1 << 20)?) << 20,
                "--waiting" => settings.waiting = (number(0, 1 << 20)? as usize) << 10,
                _ => return Err(format!("there is no option {option}")),
            }
        }
        Ok(Some(settings))
    }
}

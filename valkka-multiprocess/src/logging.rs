//! Log records of all processes in one place, and a plain logger for standard error.

use std::io::{self, Write};

use log::{Level, Log, Metadata, Record};

#[doc(no_inline)]
pub use common_ipc::logging::{InstallError, install};
#[doc(no_inline)]
pub use log::LevelFilter;

/// Has log records of this program, and of the processes that it starts from now on, written to its standard error, a line
/// each, down to `level`:
///
/// ```text
/// valkka.Player - WARNING - no frames for 3 s
/// ```
///
/// That is the record's target, its level and its message. The levels are called as Python calls them: `ERROR`,
/// `WARNING`, `INFO`, `DEBUG`, and `TRACE`, which Python hasn't; there is no `CRITICAL`. Each record is one write, so that
/// those of several processes never mix. A message of several lines goes on indented, and control characters are shown
/// escaped: what a process logs can't be taken for what another one does.
///
/// Called again, or after another logger was [installed](install) for the processes, it sets the level, and nothing else.
/// So it does in a process that this program has started, for that process. Processes that run keep the level that they
/// have, but the program drops what it doesn't want itself.
///
/// ```
/// use valkka_multiprocess::logging::{LevelFilter, format_logger};
///
/// format_logger(LevelFilter::Info)?;
/// log::warn!(target: "valkka.Player", "no frames for 3 s");
/// log::debug!("nobody reads this");
/// format_logger(LevelFilter::Debug)?;
/// # Ok::<(), valkka_multiprocess::logging::InstallError>(())
/// ```
///
/// # Errors
///
/// [`InstallError::AnotherLogger`] if the program has set a logger by other ways; its level stays as it is. Have
/// [`install`] set that logger, and processes log to it as well.
#[doc(alias = "formatLogger")]
pub fn format_logger(level: LevelFilter) -> Result<(), InstallError> {
    match install(Box::new(ToStderr)) {
        Ok(()) | Err(InstallError::Installed) => {
            log::set_max_level(level);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Writes lines.
struct ToStderr;

impl Log for ToStderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        // Standard error has no buffer: what is written at once stays together. If it leads nowhere there is nobody to
        // tell.
        let _ = io::stderr().write_all(line(record).as_bytes());
    }

    fn flush(&self) {}
}

fn line(record: &Record<'_>) -> String {
    let (target, message) = (plain(record.target()), plain(&record.args().to_string()));
    format!("{target} - {} - {message}\n", name(record.level()))
}

fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => plain.push_str("\n    "),
            '\t' => plain.push('\t'),
            control if control.is_control() => plain.extend(control.escape_default()),
            other => plain.push(other),
        }
    }
    plain
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Warn => "WARNING",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_in_python() {
        for (level, name) in [(Level::Error, "ERROR"), (Level::Warn, "WARNING"), (Level::Info, "INFO")] {
            let mut record = Record::builder();
            record.target("valkka.Player").level(level);
            let line = line(&record.args(format_args!("{} frames", 3)).build());
            assert_eq!(line, format!("valkka.Player - {name} - 3 frames\n"));
        }
    }

    #[test]
    fn no_line_is_another_ones() {
        let mut record = Record::builder();
        record.target("one").level(Level::Info);
        let line = line(&record.args(format_args!("a\ntwo - ERROR - b\x1b[2Jä")).build());
        assert_eq!(line, "one - INFO - a\n    two - ERROR - b\\u{1b}[2Jä\n");
    }
}

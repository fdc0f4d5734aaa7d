//! All of it: files to workers, tiles to the sheet.

use std::error::Error;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use multiprocess::{LaunchOptions, Resource, Stdio, WorkerPool};

use crate::chaos::Chaos;
use crate::decode::{Job, decode};
use crate::files;
use crate::reason::Reason;
use crate::settings::Settings;
use crate::sheet::Sheet;
use crate::summary::Summary;

/// So many workers in a row may be killed at the same file before it is given up: chaos needs some.
const ATTEMPTS: u32 = 50;
/// So many files for each worker are read ahead.
const AHEAD: usize = 4;

/// None: Ctrl-C. Nothing is left then.
pub(crate) fn run(settings: &Settings, folder: &Path, out: &Path) -> Result<Option<Summary>, Box<dyn Error>> {
    // First of all: workers are forked from what the program is now, and not from what it becomes.
    multiprocess::init()?;
    let interrupted = notice_interrupts()?;
    let begin = Instant::now();
    let with_path = |path: &Path, error| format!("{}: {error}", path.display());
    let files = files::below(folder, out, &interrupted).map_err(|error| with_path(folder, error))?;
    let Some(files) = files else { return Ok(none()) };
    if files.is_empty() {
        return Err(format!("{}: there are no files", folder.display()).into());
    }
    let sheet = Sheet::create(out, files.len(), settings.columns, settings.tile);
    let mut sheet = sheet.map_err(|error| with_path(out, error))?;

    let pool = WorkerPool::builder(settings.workers).options(locked_up(settings)).build()?;
    let pool = pool.task_timeout(settings.timeout).attempts(if settings.chaos { ATTEMPTS } else { 1 });
    end_at_interrupt(&pool, &interrupted)?;
    let chaos = settings.chaos.then(|| Chaos::start(pool.clone()));

    let bar = bar(files.len());
    let jobs = files.iter().map(|path| Job {
        file: files::read(path, settings.max_memory),
        extension: path.extension().unwrap_or_default().to_string_lossy().into_owned(),
        tile: settings.tile,
        // The decoder's own bookkeeping needs some, and the small picture.
        max_memory: settings.max_memory / 4 * 3,
    });
    let mut summary = Summary::new(out);
    let results = pool.map(jobs, decode).ahead(AHEAD * settings.workers);
    for (path, result) in files.iter().zip(results.follow(|progress| bar.set_position(progress.done))) {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        let result = result.map_err(Reason::from).and_then(|result| result);
        let unsound = || Reason::Failed("what the worker says of it makes no sense".to_owned());
        let result = result.and_then(|tile| tile.is_sound(settings.tile).then_some(tile).ok_or_else(unsound));
        let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
        summary.count(&name, &result);
        sheet.add(&name, &result).map_err(|error| with_path(out, error))?;
    }
    bar.finish_and_clear();
    summary.kills = chaos.map_or(0, Chaos::stop);
    if interrupted.load(Ordering::Relaxed) {
        return Ok(none());
    }
    summary.workers = pool.statistics()?;
    pool.close()?;
    sheet.finish().map_err(|error| with_path(out, error))?;
    summary.took = begin.elapsed();
    Ok(Some(summary))
}

/// What comes of it after Ctrl-C.
fn none() -> Option<Summary> {
    eprintln!("contact_sheet: interrupted; there is no sheet");
    None
}

/// What a worker may have and do. A file is given to it as memory, so it needs no others.
fn locked_up(settings: &Settings) -> LaunchOptions {
    let options = LaunchOptions::new()
        .name("decoder")
        .cwd("/")
        .env_clear()
        .stdout(Stdio::Null)
        .stderr(Stdio::Null)
        .no_new_privs()
        .core_limit(0)
        .limit(Resource::Data, settings.max_memory, settings.max_memory)
        .limit(Resource::Processes, 0, 0);
    if nix::unistd::geteuid().is_root() { options.user("nobody") } else { options }
}

/// Ctrl-C, or SIGTERM, is noticed. A second one ends the program.
fn notice_interrupts() -> std::io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&interrupted))?;
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}

/// It ends the pool: whoever waits for a result is told so at once.
fn end_at_interrupt(pool: &WorkerPool, interrupted: &Arc<AtomicBool>) -> std::io::Result<()> {
    let (interrupted, pool) = (Arc::clone(interrupted), pool.clone());
    let wait = move || {
        while !interrupted.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
        if let Err(error) = pool.terminate(Duration::ZERO) {
            eprintln!("contact_sheet: {error}");
        }
    };
    thread::Builder::new().name("interrupts".to_owned()).spawn(wait).map(drop)
}

/// On standard error, where somebody looks on.
fn bar(files: usize) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(files as u64), target);
    match ProgressStyle::with_template("{bar:40} {pos}/{len} files, {per_sec}, {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

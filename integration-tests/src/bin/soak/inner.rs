//! The process in which all happens: the actors, the monkey, the watch, and what is left in the end.

use std::error::Error;
use std::io::IsTerminal;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use common_ipc::process::{Zygote, active_children, init, join_callbacks};
use common_ipc::testing::{LeakPolice, Leaks};
use integration_tests::proc;
use integration_tests::watchdog::CLEARING_UP;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use offspring::spawn_in;

use crate::actors::{ALL, Kind, Program};
use crate::arguments::Arguments;
use crate::faults;
use crate::model::blocked::Blocked;
use crate::model::tally::{Count, Tally};
use crate::model::watch::Watch;
use crate::report::{self, Report};
use crate::stage::{Stage, options};

/// So often a line says how far it is.
const TELL: Duration = Duration::from_secs(10);
/// After this time all have begun, and memory is compared with what it was then.
const WARM: Duration = Duration::from_secs(3);

/// Tells its report on standard output. Whether all was as it must be.
pub(crate) fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    // Should the outer one be killed, this one goes as well, and with it all that it has started.
    set_pdeathsig(Signal::SIGKILL)?;
    init()?;
    let before = LeakPolice::new();
    let forker = Program::template()?;
    // From here on there are threads.
    let (tally, watch) = (Tally::new()?, Watch::new()?);
    let monkey = faults::monkey(arguments.seed).release()?;
    let stage = Stage {
        seed: arguments.seed,
        tally,
        watch,
        record: monkey.record().clone(),
        blocked: Blocked::default(),
        zygote: Zygote::global(),
        forker,
        over: AtomicBool::new(false),
    };
    let kinds: Vec<_> = ALL
        .iter()
        .filter(|kind| arguments.only.is_empty() || arguments.only.iter().any(|name| name == kind.name))
        .collect();
    let begin = Instant::now();
    let memory = play(&stage, &kinds, Duration::from_secs(arguments.seconds));
    let record = monkey.stop();

    // A zygote that was killed is collected by the next start.
    drop(spawn_in(&stage.zygote, options("last"), |()| (), ())?.join());
    if !join_callbacks(Some(Duration::from_secs(20))) {
        stage.tally.wrong(Count::Hung, || "callbacks don't end".to_owned());
    }
    let mut report = Report::of(&stage.tally);
    report.seconds = begin.elapsed().as_secs_f64();
    report.faults = record.counts().into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    (report.blocked, report.slowest) = (stage.blocked.quantiles(), stage.blocked.slowest());
    report.memory = [memory, remembered()];
    let left = active_children();
    left.iter().for_each(|child| eprintln!("LEFT: {child:?}"));
    drop(left);
    drop(stage);
    for left in before.check(CLEARING_UP).err().iter().flat_map(Leaks::iter) {
        eprintln!("LEFT: {left}");
        let name = match left {
            zombie if zombie.contains("state: 'Z'") => report::ZOMBIES,
            child if child.starts_with("a child") => report::LEFT,
            fd if fd.starts_with("a descriptor") => report::DESCRIPTORS,
            _ => report::SHM,
        };
        report.wrong(name, 1);
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(report.is_right())
}

/// Until the time is over and all actors have ended. What memory there was when all had begun.
fn play(stage: &Stage, kinds: &[&Kind], time: Duration) -> (u64, u64) {
    let (begin, ended) = (Instant::now(), AtomicBool::new(false));
    let mut memory = None;
    std::thread::scope(|scope| {
        scope.spawn(|| stage.watch.look(&ended, |count, text| give_up(stage, begin, count, &text)));
        let actors: Vec<_> = kinds
            .iter()
            .map(|kind| {
                let thread = std::thread::Builder::new().name(kind.name.to_owned());
                (kind.name, thread.spawn_scoped(scope, || (kind.run)(stage)))
            })
            .collect();
        let mut told = begin;
        while begin.elapsed() < time {
            std::thread::sleep(Duration::from_millis(50).min(time.saturating_sub(begin.elapsed())));
            if begin.elapsed() > WARM && memory.is_none() {
                memory = Some(remembered());
            }
            if told.elapsed() > TELL {
                told = Instant::now();
                tell(stage, begin.elapsed());
            }
        }
        stage.over.store(true, Relaxed);
        for (name, actor) in actors {
            let ended = actor.map(|actor| actor.join());
            stage.tally.check(matches!(ended, Ok(Ok(()))), || {
                format!("{name}: the actor has panicked, or isn't there")
            });
        }
        ended.store(true, Relaxed);
    });
    memory.unwrap_or_else(remembered)
}

/// A line on standard error; in its place, where that is a terminal.
fn tell(stage: &Stage, time: Duration) {
    let get = |count| stage.tally.get(count);
    let wrongs = get(Count::Lost) + get(Count::Double) + get(Count::Inconsistent);
    let line = format!(
        "{:4} s: {} processes, {} calls, {} messages, {} KiB, {wrongs} wrong",
        time.as_secs(),
        get(Count::Started),
        get(Count::Calls),
        get(Count::Messages),
        proc::resident_kib(),
    );
    if std::io::stderr().is_terminal() { eprint!("\r{line}") } else { eprintln!("{line}") }
}

/// Somebody hangs, so this process can't come to its end in order.
fn give_up(stage: &Stage, begin: Instant, count: u64, text: &str) {
    eprintln!("{text}");
    stage.tally.add(Count::Hung, count);
    let mut report = Report::of(&stage.tally);
    report.seconds = begin.elapsed().as_secs_f64();
    report.faults = stage.record.counts().into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    (report.blocked, report.slowest) = (stage.blocked.quantiles(), stage.blocked.slowest());
    if let Ok(line) = serde_json::to_string(&report) {
        println!("{line}");
    }
    std::process::abort();
}

fn remembered() -> (u64, u64) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    (proc::resident_kib(), maps.lines().count() as u64)
}

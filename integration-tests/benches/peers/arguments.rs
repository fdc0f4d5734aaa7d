//! What the program is asked to do.

use std::time::{Duration, Instant};

use crate::case::{Case, Contender};
use crate::cases;
use crate::measure::Setting;
use crate::place::{BURN, Place};

const HELP: &str = "\
Ours, the limit and the peers, in one run.

  --quick       three short rounds; fewer after half a minute. Of all cases: without what needs
                much memory or many processes
  --case NAME   this case only; may be given more than once
  --list        the cases
  --help        this

MULTIPROCESS_BENCH_PYTHON   a Python interpreter that has the originals (not with --quick);
                            integration-tests/benches/python/make-venv makes one
--features iceoryx2         (of cargo) has iceoryx2 take part
--features tokio            (of cargo) has back ends take part that are tokio runtimes

One core: both processes on the first one. Two cores: one each. Free: wherever the scheduler puts
them. Hog: both on the first core, beside a process that computes there.
";

pub(crate) fn print_help() {
    print!("{HELP}\nThe cases:\n\n");
    print_cases();
}

fn print_cases() {
    for case in cases::ALL {
        println!("  {:16} {}", case.name, case.task);
    }
}

/// What to do.
pub(crate) enum Task {
    Help,
    /// Be the hog.
    Burn,
    /// Be one contender's turn.
    Run(Turn),
    Measure(Arguments),
}

/// One contender's turn.
pub(crate) struct Turn {
    pub(crate) case: &'static Case,
    pub(crate) contender: &'static Contender,
    pub(crate) setting: Setting,
}

/// How to measure.
pub(crate) struct Arguments {
    pub(crate) quick: bool,
    begin: Instant,
    /// None: all of them.
    only: Vec<&'static Case>,
}

impl Arguments {
    pub(crate) fn wants(&self, case: &Case) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted.name == case.name)
    }

    /// Whether those stay out that need much: a quick run has no time for them, unless it is about their case.
    pub(crate) fn spares_much(&self) -> bool {
        self.quick && self.only.is_empty()
    }

    /// Whether there is to be another round after so many. A quick run is to be over in a minute, also
    /// on a machine that has much else to do: then each contender has one turn only.
    pub(crate) fn goes_on_after(&self, rounds: usize) -> bool {
        let late = self.quick && self.begin.elapsed() > Duration::from_secs(35);
        rounds < if late { 1 } else { self.rounds() }
    }

    fn rounds(&self) -> usize {
        if self.quick { 3 } else { 9 }
    }

    /// How long a turn measures.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_millis(if self.quick { 80 } else { 300 })
    }
}

/// The arguments of this program.
pub(crate) fn read() -> Result<Task, String> {
    let mut arguments = std::env::args().skip(1);
    let mut asked = Arguments { quick: false, begin: Instant::now(), only: Vec::new() };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => asked.quick = true,
            "--case" => asked.only.push(case(&arguments.next().unwrap_or_default())?),
            "--help" | "-h" => return Ok(Task::Help),
            "--list" => {
                print_cases();
                std::process::exit(0);
            }
            RUN => return turn(&arguments.collect::<Vec<_>>()).map(Task::Run),
            BURN => return Ok(Task::Burn),
            // Cargo's.
            "--bench" => {}
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(Task::Measure(asked))
}

fn case(name: &str) -> Result<&'static Case, String> {
    let names = || cases::ALL.iter().map(|case| case.name).collect::<Vec<_>>().join(", ");
    let found = cases::ALL.iter().copied().find(|case| case.name == name);
    found.ok_or_else(|| format!("no case {name:?}; there are {}", names()))
}

/// The argument with which this program runs as one contender's turn.
const RUN: &str = "--run";

impl Turn {
    pub(crate) fn to_arguments(&self) -> [String; 5] {
        let Setting { place, time } = self.setting;
        let time = time.as_millis().to_string();
        [RUN.into(), self.case.name.into(), self.contender.name.into(), place.name().into(), time]
    }
}

fn turn(arguments: &[String]) -> Result<Turn, String> {
    let [case_name, contender, place, time] = arguments else {
        return Err(format!("{RUN} takes a case, a contender, a place and milliseconds"));
    };
    let case = case(case_name)?;
    let contender = case.contenders.iter().find(|known| known.name == contender);
    Ok(Turn {
        case,
        contender: contender.ok_or("no such contender")?,
        setting: Setting {
            place: Place::from_name(place).ok_or("no such place")?,
            time: Duration::from_millis(time.parse().map_err(|_| "no number of milliseconds")?),
        },
    })
}

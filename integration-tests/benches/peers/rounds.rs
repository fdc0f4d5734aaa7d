//! The contenders take turns.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::arguments::{Arguments, Turn};
use crate::case::{Case, Contender, Run};
use crate::measure::{Setting, end_with_parent};
use crate::place::{Hog, Place};
use crate::support::median;

/// A case at one place: each contender that got through all its rounds.
pub(crate) struct Column {
    pub(crate) place: Place,
    pub(crate) results: Vec<Measured>,
}

/// A contender's figures.
pub(crate) struct Measured {
    pub(crate) contender: &'static Contender,
    /// One for each round, in their order.
    pub(crate) rounds: Vec<f64>,
    pub(crate) median: f64,
}

impl Measured {
    /// Whether the rounds aren't of one mind: the machine changed between them. Two processors of a
    /// virtual machine, say, are one core with two threads at one time and two cores at another.
    pub(crate) fn is_unsteady(&self) -> bool {
        let least = self.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        self.rounds.iter().any(|figure| *figure > 2.0 * least)
    }
}

/// The interpreter with the originals, if they are to take part.
pub(crate) struct Python(bool);

/// Names it.
const PYTHON: &str = "MULTIPROCESS_BENCH_PYTHON";

impl Python {
    pub(crate) fn from_environment(arguments: &Arguments) -> Python {
        let set = std::env::var_os(PYTHON).is_some();
        if !set {
            eprintln!("the Python originals are left out: {PYTHON} names no interpreter that has them");
        }
        Python(set && !arguments.quick)
    }
}

/// Measures a case at one place. Each round has another contender first, as what runs first finds
/// another machine than what runs after it.
pub(crate) fn column(case: &'static Case, place: Place, arguments: &Arguments, python: &Python) -> Column {
    let _hog = (place == Place::Hog).then(Hog::start);
    let setting = Setting { place, time: arguments.time() };
    let takes_part = |contender: &Contender| {
        if arguments.spares_much() && contender.needs.is_much() {
            return false;
        }
        if let Some(missing) = contender.needs.missing() {
            eprintln!("{}, {}: {} is left out: {missing}", case.name, place.name(), contender.name);
            return false;
        }
        python.0 || matches!(contender.run, Run::Here(_))
    };
    let mut taking_part: Vec<(&'static Contender, Vec<f64>)> = case
        .contenders
        .iter()
        .filter(|contender| takes_part(contender))
        .map(|contender| (contender, Vec::new()))
        .collect();
    let mut round = 0;
    while arguments.goes_on_after(round) {
        let count = taking_part.len();
        for turn in 0..count {
            let (contender, figures) = &mut taking_part[(round + turn) % count];
            // Who failed in an earlier round is out.
            if figures.len() < round {
                continue;
            }
            match take_turn(&Turn { case, contender, setting }) {
                Ok(figure) => figures.push(figure),
                Err(problem) => {
                    eprintln!("{}, {}: {} is left out: {problem}", case.name, place.name(), contender.name);
                }
            }
        }
        round += 1;
    }
    let whole = taking_part.into_iter().filter(|(_, figures)| figures.len() == round);
    let results = whole.map(|(contender, rounds)| {
        let median = median(&mut rounds.clone());
        Measured { contender, rounds, median }
    });
    Column { place, results: results.collect() }
}

/// A turn, in a process of its own: it has one thread, as a fork wants it, and nothing of the turns
/// before. It ends by itself or by its own alarm.
fn take_turn(turn: &Turn) -> Result<f64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(turn.to_arguments()).stdin(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    // The last line: a peer may have something to say of its own.
    let told = text.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let figure = told.and_then(|told| told["figure"].as_f64());
    figure
        .filter(|_| output.status.success())
        .ok_or_else(|| format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end()))
}

/// In the process of the turn.
pub(crate) fn run_here(turn: &Turn) {
    end_with_parent();
    // Whatever hangs is killed by this, also after an exec; and with it what it started.
    nix::unistd::alarm::set(10 + 4 * turn.setting.time.as_secs() as u32);
    let place = turn.setting.place;
    place.pin_first();
    match turn.contender.run {
        Run::Here(measure) => println!("{}", json!({ "figure": measure(turn.setting) })),
        Run::Python { program, what } => {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python");
            let second = place.second_core().map_or("any".into(), |core| core.to_string());
            let error = Command::new(std::env::var_os(PYTHON).unwrap_or_else(|| OsString::from("python3")))
                .arg(folder.join(program).with_extension("py"))
                .args([what, &second, &turn.setting.time.as_secs_f64().to_string()])
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .exec();
            panic!("{PYTHON}: {error}");
        }
    }
}

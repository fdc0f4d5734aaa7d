//! A test target whose tests are found at run time: scenarios, and functions of its own.
//!
//! A scenario is played in a process of its own, under the watchdog. One that can't be played here (it needs root, say)
//! says why, and counts as ignored.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Trial};

use crate::watchdog::{self, SKIPPED};

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// Why it can't be played here.
    Skipped(String),
    /// What was wrong.
    Failed(String),
}

/// What became of each.
pub type Outcomes = BTreeMap<String, Outcome>;

/// The tests of a target.
#[derive(Debug, Default)]
pub struct Suite {
    trials: Vec<Trial>,
    outcomes: Arc<Mutex<Outcomes>>,
}

/// A target that has run.
#[derive(Debug)]
pub struct Finished {
    /// Of those that were asked for.
    pub outcomes: Outcomes,
    /// All were asked for.
    pub is_complete: bool,
    /// Whether any has failed.
    pub has_failed: bool,
}

impl Suite {
    /// One with all scenarios of the program whose names are wanted.
    ///
    /// # Panics
    ///
    /// If the program doesn't name them.
    #[must_use]
    pub fn of_scenarios(program: &'static Path, is_wanted: impl Fn(&str) -> bool) -> Suite {
        let mut suite = Suite::default();
        // Those of tasks by themselves, since they are there with the feature `tokio` only.
        let of_tasks = list(program, "of_tasks");
        for name in list(program, "all").into_iter().filter(|name| is_wanted(name)) {
            let kind = if of_tasks.contains(&name) { "of_tasks" } else { "" };
            suite.add(name.clone(), kind, move || play(program, &name));
        }
        suite
    }

    /// A test of the target's own, which fails by panicking.
    pub fn test(&mut self, name: &str, test: impl FnOnce() + Send + 'static) {
        self.ignorable_test(name, || {
            test();
            Outcome::Passed
        });
    }

    /// ... or tells what became of it.
    pub fn ignorable_test(&mut self, name: &str, test: impl FnOnce() -> Outcome + Send + 'static) {
        self.add(name.to_owned(), "", test);
    }

    fn add(&mut self, name: String, kind: &str, test: impl FnOnce() -> Outcome + Send + 'static) {
        let (key, outcomes) = (name.clone(), Arc::clone(&self.outcomes));
        let note = move |outcome| {
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), outcome);
        };
        let trial = Trial::ignorable_test(name, move || {
            // Unless something else comes of it.
            note(Outcome::Failed("it panicked".to_owned()));
            let outcome = test();
            note(outcome.clone());
            match outcome {
                Outcome::Passed => Ok(Completion::Completed),
                Outcome::Skipped(why) => Ok(Completion::ignored_with(why)),
                Outcome::Failed(what) => Err(what.into()),
            }
        });
        self.trials.push(trial.with_kind(kind));
    }

    /// Runs those that the arguments of the command ask for, as many at once as there are cores.
    #[must_use]
    pub fn run(mut self) -> Finished {
        let mut arguments = Arguments::from_args();
        if arguments.test_threads.is_none() {
            // As it is for all other targets.
            arguments.test_threads =
                std::env::var("RUST_TEST_THREADS").ok().and_then(|text| text.parse().ok());
        }
        self.trials.sort_by(|one, other| one.name().cmp(other.name()));
        let count = self.trials.len();
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        let outcomes = std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner));
        Finished { is_complete: outcomes.len() == count, has_failed: conclusion.has_failed(), outcomes }
    }
}

impl Finished {
    /// Those that were skipped, and why, in lines of their own.
    #[must_use]
    pub fn skipped(&self) -> String {
        let skipped = self.outcomes.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Skipped(why) => Some(format!("skipped: {name}: {why}\n")),
            _ => None,
        });
        skipped.collect()
    }
}

fn list(program: &Path, which: &str) -> Vec<String> {
    let ran = watchdog::run(program, &["--list", which]);
    assert!(ran.status.success(), "{ran:?}");
    ran.stdout.lines().map(str::to_owned).collect()
}

fn play(program: &Path, name: &str) -> Outcome {
    let ran = watchdog::run(program, &[name]);
    match (ran.status.code(), ran.stdout.lines().last()) {
        (Some(0), _) => Outcome::Passed,
        (Some(SKIPPED), Some(why)) => Outcome::Skipped(why.to_owned()),
        _ => {
            Outcome::Failed(format!("{}\n--- stdout\n{}\n--- stderr\n{}", ran.status, ran.stdout, ran.stderr))
        }
    }
}

//! What is measured: a case, and who takes part in it.

use crate::measure::Setting;
use crate::needs::Needs;
use crate::place::Place;

/// A task that ours, the limit and the peers each do in their way.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What one does in it.
    pub(crate) task: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) places: &'static [Place],
    /// Ours first, then the limit.
    pub(crate) contenders: &'static [Contender],
    /// What is promised of the figures.
    pub(crate) bounds: &'static [Bound],
}

/// A promise about a contender's figure, or about its ratio to another one's.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) of: &'static str,
    pub(crate) to: Option<&'static str>,
    pub(crate) is: Promise,
    /// Where; everywhere if it isn't said.
    pub(crate) at: Option<Place>,
}

/// What a figure or ratio is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Promise {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    /// A figure is at most this.
    pub(crate) const fn figure(of: &'static str, most: f64) -> Bound {
        Bound { of, to: None, is: Promise::AtMost(most), at: None }
    }

    /// A figure is at most so many times another one.
    pub(crate) const fn ratio(of: &'static str, to: &'static str, most: f64) -> Bound {
        Bound { of, to: Some(to), is: Promise::AtMost(most), at: None }
    }

    /// A figure is at least so many times another one.
    pub(crate) const fn at_least(of: &'static str, to: &'static str, least: f64) -> Bound {
        Bound { of, to: Some(to), is: Promise::AtLeast(least), at: None }
    }
}

impl Bound {
    /// In this place only.
    pub(crate) const fn at(self, place: Place) -> Bound {
        Bound { at: Some(place), ..self }
    }
}

impl Promise {
    pub(crate) fn is_kept(self, figure: f64) -> bool {
        match self {
            Promise::AtMost(most) => figure <= most,
            Promise::AtLeast(least) => figure >= least,
        }
    }
}

impl std::fmt::Display for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Promise::AtMost(most) => write!(f, "<= {most}"),
            Promise::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

/// Which figures are the good ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

impl Better {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Better::Lower => "lower",
            Better::Higher => "higher",
        }
    }
}

/// Somebody who takes part.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) run: Run,
    /// Without which it doesn't take part.
    pub(crate) needs: Needs,
}

/// What a contender's figure is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Ours,
    /// What nobody can be better than, or hardly.
    Limit,
    /// What one could use instead, and bare means of the kernel.
    Peer,
}

/// How a contender's figure is had.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    /// In this program. The figure is in the case's unit.
    Here(fn(Setting) -> f64),
    /// By a program in `python/`, which is told what to measure and prints it.
    Python { program: &'static str, what: &'static str },
}

impl Contender {
    pub(crate) const fn ours(name: &'static str, run: fn(Setting) -> f64) -> Contender {
        Contender { name, role: Role::Ours, run: Run::Here(run), needs: Needs::Nothing }
    }

    pub(crate) const fn limit(name: &'static str, run: fn(Setting) -> f64) -> Contender {
        Contender { name, role: Role::Limit, run: Run::Here(run), needs: Needs::Nothing }
    }

    pub(crate) const fn peer(name: &'static str, run: fn(Setting) -> f64) -> Contender {
        Contender { name, role: Role::Peer, run: Run::Here(run), needs: Needs::Nothing }
    }

    pub(crate) const fn python(name: &'static str, program: &'static str, what: &'static str) -> Contender {
        let run = Run::Python { program, what };
        Contender { name, role: Role::Peer, run, needs: Needs::Nothing }
    }

    pub(crate) const fn needs(self, needs: Needs) -> Contender {
        Contender { needs, ..self }
    }
}

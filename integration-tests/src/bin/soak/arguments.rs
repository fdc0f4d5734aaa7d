//! What the command line says.

use std::fmt;

use crate::actors;

pub(crate) const HELP: &str = "\
Starts all kinds of processes with all kinds of traffic, does harm to them at random, and checks everything against a model.

Usage: soak [--seconds N] [--seed S] [--only KIND,..]

  --seconds N      for so long; 10 unless said otherwise
  --seed S         what random numbers begin with; printed, and another one each time unless said otherwise
  --only KIND,..   these kinds of traffic alone; all of them unless said otherwise
  --help           this

Exit code 0: all was as it must be; 1: something was wrong; 2: it was called in a wrong way.

Kinds of traffic:
";

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) only: Vec<String>,
    /// It is the process in which all happens.
    pub(crate) inner: bool,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Help,
    Wrong(String),
}

/// By this one the outer process starts the inner one.
const INNER: &str = "--inner";

impl Arguments {
    pub(crate) fn read(mut words: impl Iterator<Item = String>, seed: u64) -> Result<Arguments, Refused> {
        let mut arguments = Arguments { seconds: 10, seed, only: Vec::new(), inner: false };
        while let Some(word) = words.next() {
            if word == "--help" || word == "-h" {
                return Err(Refused::Help);
            }
            if word == INNER {
                arguments.inner = true;
                continue;
            }
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.clone(), words.next()),
            };
            let value = value.ok_or_else(|| Refused::Wrong(format!("{word} needs a value")))?;
            let number =
                || value.parse().map_err(|_| Refused::Wrong(format!("{name}: {value} is not a number")));
            match &*name {
                "--seconds" => arguments.seconds = number()?,
                "--seed" => arguments.seed = number()?,
                "--only" => arguments.only = kinds(&value)?,
                _ => return Err(Refused::Wrong(format!("{name} is unknown"))),
            }
        }
        Ok(arguments)
    }

    /// Those of the inner process.
    pub(crate) fn of_inner(&self) -> Vec<String> {
        let mut words =
            vec![INNER.to_owned(), format!("--seconds={}", self.seconds), format!("--seed={}", self.seed)];
        if !self.only.is_empty() {
            words.push(format!("--only={}", self.only.join(",")));
        }
        words
    }
}

fn kinds(names: &str) -> Result<Vec<String>, Refused> {
    let names: Vec<String> = names.split(',').map(str::to_owned).collect();
    match names.iter().find(|name| actors::ALL.iter().all(|kind| kind.name != **name)) {
        Some(unknown) => Err(Refused::Wrong(format!("--only: there is no kind {unknown:?}"))),
        None => Ok(names),
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Help => {
                f.write_str(HELP)?;
                actors::ALL.iter().try_for_each(|kind| writeln!(f, "  {:11}{}", kind.name, kind.about))
            }
            Refused::Wrong(why) => write!(f, "soak: {why}; soak --help says how it is called"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Arguments, Refused> {
        Arguments::read(words.iter().map(|word| (*word).to_owned()), 7)
    }

    #[test]
    fn the_inner_process_is_told_the_same() {
        let outer = read(&["--seconds", "3", "--only", "tasks,forks"]).unwrap();
        assert_eq!((outer.seconds, outer.seed, outer.only.len(), outer.inner), (3, 7, 2, false));
        let inner = Arguments::read(outer.of_inner().into_iter(), 8).unwrap();
        assert_eq!(inner, Arguments { inner: true, ..outer });
    }

    #[test]
    fn wrong_use_is_refused() {
        for words in [&["--seconds"][..], &["--seconds", "x"], &["--only", "nothing"], &["more", "1"]] {
            assert!(matches!(read(words), Err(Refused::Wrong(_))), "{words:?}");
        }
        assert_eq!(read(&["--help"]), Err(Refused::Help));
    }
}

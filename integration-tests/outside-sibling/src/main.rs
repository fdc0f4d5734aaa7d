//! A user's type with a parameter, in a process of its own: with traits, fields, time-outs, a method that panics and a
//! constructor that fails.

use std::error::Error;
use std::fmt::{self, Display};
use std::time::Duration;

use cross_process_bridge::{BridgeError, Execution, Timeout, bridge};
use serde::{Deserialize, Serialize};

/// Takes samples, here or elsewhere.
trait Sink<T> {
    fn push(&mut self, sample: T) -> Result<usize, SinkError>;
    fn push_all(&mut self, samples: Vec<T>) -> Result<usize, SinkError>;
}

trait Titled {
    fn title(&self, ornament: &str) -> String;
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SinkError {
    Full { limit: usize },
    Unreachable(String),
}

impl From<BridgeError> for SinkError {
    fn from(error: BridgeError) -> SinkError {
        SinkError::Unreachable(error.to_string())
    }
}

/// Not serialisable: what a constructor fails with needn't be.
#[derive(Debug)]
struct NoRoom;

impl Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a window of no samples")
    }
}

impl Error for NoRoom {}

/// The first so many samples.
struct Window<T> {
    label: String,
    limit: usize,
    samples: Vec<T>,
}

#[bridge(traits(Sink<T>, Titled, Display), fields(label: String, limit: usize))]
impl<T: Clone + PartialOrd + Display> Window<T> {
    fn new(limit: usize) -> Result<Self, NoRoom> {
        if limit == 0 { Err(NoRoom) } else { Ok(Window { label: String::new(), limit, samples: Vec::new() }) }
    }

    fn greatest(&self) -> Option<T> {
        let greater = |a: T, b: T| if a >= b { a } else { b };
        self.samples.iter().cloned().reduce(greater)
    }

    fn at(&self, place: usize) -> T {
        self.samples[place].clone()
    }

    fn drain_into(&mut self, list: &mut Vec<T>) {
        list.append(&mut self.samples);
    }

    fn doze(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[bridge(implement)]
impl<T: Clone + PartialOrd + Display> Sink<T> for Window<T> {
    fn push(&mut self, sample: T) -> Result<usize, SinkError> {
        if self.samples.len() == self.limit {
            return Err(SinkError::Full { limit: self.limit });
        }
        self.samples.push(sample);
        Ok(self.samples.len())
    }

    fn push_all(&mut self, samples: Vec<T>) -> Result<usize, SinkError> {
        samples.into_iter().try_fold(self.samples.len(), |_, sample| self.push(sample))
    }
}

#[bridge]
impl<T: Clone + PartialOrd + Display> Titled for Window<T> {
    fn title(&self, ornament: &str) -> String {
        format!("{ornament} {} {ornament}", self.label)
    }
}

impl<T: Display> Display for Window<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.label)?;
        self.samples.iter().try_for_each(|sample| write!(f, " {sample}"))
    }
}

/// Knows nothing of bridges.
fn fill<T>(sink: &mut impl Sink<T>, samples: Vec<T>) -> Result<usize, SinkError> {
    sink.push_all(samples)
}

fn main() -> Result<(), Box<dyn Error>> {
    a_constructor_fails()?;
    words()?;
    numbers()?;
    println!("a crate that has the bridge alone works");
    Ok(())
}

fn a_constructor_fails() -> Result<(), Box<dyn Error>> {
    let window = WindowBridge::<f64>::new(0);
    match window.start() {
        Err(error @ BridgeError::Constructor { .. }) => println!("{error}"),
        other => return Err(format!("a window of no samples: {other:?}").into()),
    }
    assert!(matches!(window.greatest(), Err(BridgeError::NotStarted { .. })));
    Ok(())
}

fn words() -> Result<(), Box<dyn Error>> {
    let words = WindowBridge::<String>::new(3).scope(|window| {
        window.set_label("words".to_owned())?;
        let mut sink = window.clone();
        assert_eq!(fill(&mut sink, ["b", "c", "a"].map(str::to_owned).to_vec()), Ok(3));
        assert_eq!(fill(&mut sink, vec!["d".to_owned()]), Err(SinkError::Full { limit: 3 }));
        assert_eq!((window.limit()?, window.greatest()?), (3, Some("c".to_owned())));
        assert_eq!(
            (window.to_string()?, window.title("~")?),
            ("words: b c a".to_owned(), "~ words ~".to_owned())
        );
        let mut words = vec!["z".to_owned()];
        window.drain_into(&mut words)?;
        assert_eq!(window.greatest()?, None);
        Ok::<_, BridgeError>(words)
    })??;
    assert_eq!(words, ["z", "b", "c", "a"]);
    Ok(())
}

fn numbers() -> Result<(), Box<dyn Error>> {
    WindowBridge::<f64>::new(8).scope(|window| {
        let mut sink = window.clone();
        assert_eq!(fill(&mut sink, vec![0.5, 2.5]), Ok(2));
        match window.at(2) {
            Err(error @ BridgeError::Panicked { .. }) if error.execution() == Execution::Ran => {
                println!("{error}")
            }
            other => return Err(format!("the third of two: {other:?}").into()),
        }
        match window.with_timeout(Duration::from_millis(10)).doze(Duration::from_millis(100)) {
            Err(error @ BridgeError::Timeout { killed: false, .. }) => println!("{error}"),
            other => return Err(format!("a long sleep: {other:?}").into()),
        }
        assert_eq!(window.greatest()?, Some(2.5)); // answered after the sleep
        let ruthless = window.with_timeout(Timeout::after(Duration::from_millis(10)).and_kill());
        match ruthless.doze(Duration::from_secs(600)) {
            Err(error @ BridgeError::Timeout { killed: true, .. }) => println!("{error}"),
            other => return Err(format!("a longer one: {other:?}").into()),
        }
        assert!(matches!(fill(&mut sink, vec![1.0]), Err(SinkError::Unreachable(_))));
        window.start()?;
        assert_eq!(window.greatest()?, None); // a new object
        Ok::<(), Box<dyn Error>>(())
    })??;
    Ok(())
}

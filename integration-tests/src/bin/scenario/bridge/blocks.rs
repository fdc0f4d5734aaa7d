//! What an object is made by, and what its methods are marked with.
#![allow(clippy::too_many_arguments, reason = "all forms at once")]

use std::path::{Path, PathBuf};

use cross_process_bridge::{BridgeError, bridge, from_fn};

use crate::Outcome::{self, Passed};

scenarios![
    constructors_of_every_form_make_objects,
    functions_without_an_object_run_there,
    a_method_that_takes_the_object_returns_what_it_has,
    methods_are_renamed_skipped_and_conditional,
    a_one_way_method_is_carried_out_before_the_next_call,
];

/// What it was made of.
struct Made(String);

#[bridge]
impl Made {
    fn new() -> Made {
        Made("new".to_owned())
    }

    fn of_everything(
        text: &str,
        list: &[u8],
        words: &[String],
        path: &Path,
        own: PathBuf,
        maybe: Option<&Path>,
        into: impl Into<String>,
        lent: impl AsRef<Path>,
        many: impl IntoIterator<Item = u8>,
    ) -> Self {
        let (into, lent, many) = (into.into(), lent.as_ref(), many.into_iter().sum::<u8>());
        Made(format!("{text} {list:?} {words:?} {path:?} {own:?} {maybe:?} {into} {lent:?} {many}"))
    }

    fn checked(number: i32) -> Result<Self, String> {
        if number > 0 { Ok(Made(number.to_string())) } else { Err(format!("{number} isn't positive")) }
    }

    fn opened(path: &Path) -> std::io::Result<Self> {
        std::fs::read_to_string(path).map(Made)
    }

    fn boxed(text: &str) -> Result<Made, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Made(text.parse::<u8>()?.to_string()))
    }

    fn found(there: bool) -> Option<Self> {
        there.then(|| Made("found".to_owned()))
    }

    /// Its argument can't be sent.
    #[bridge(skip)]
    fn of(here: std::rc::Rc<str>) -> Made {
        Made(here.as_ref().to_owned())
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn answer() -> (u32, u32) {
        (42, std::process::id())
    }

    fn sum(numbers: &mut Vec<u8>) -> u8 {
        numbers.drain(..).sum()
    }
}

fn text_of(made: MadeBridge) -> String {
    made.scope(|made| made.text()).unwrap().unwrap()
}

fn constructors_of_every_form_make_objects() -> Outcome {
    assert_eq!(text_of(MadeBridge::new()), "new");
    let path = Path::new("/p");
    let made = MadeBridge::of_everything(
        "t",
        &[1],
        &["w".to_owned()],
        path,
        path.into(),
        Some(path),
        'i',
        "l",
        [1, 2],
    );
    assert_eq!(text_of(made), r#"t [1] ["w"] "/p" "/p" Some("/p") i "l" 3"#);
    assert_eq!(text_of(MadeBridge::checked(5)), "5");
    assert!(text_of(MadeBridge::opened(Path::new("/proc/self/comm"))).starts_with("Made"));
    assert_eq!(text_of(MadeBridge::boxed("7")), "7");
    assert_eq!(text_of(MadeBridge::found(true)), "found");
    let here = "a closure's";
    assert_eq!(text_of(from_fn(move || Made::of(std::rc::Rc::from(here)))), here);

    let failed = |made: MadeBridge| match made.start().unwrap_err() {
        BridgeError::Constructor { constructor, error } => (constructor, error),
        other => panic!("{other}"),
    };
    let (constructor, error) = failed(MadeBridge::checked(-5));
    assert_eq!((constructor, error.message()), ("Made::checked", "-5 isn't positive"));
    let (_, error) = failed(MadeBridge::opened(Path::new("/nowhere")));
    assert_eq!(error.type_name(), "std::io::error::Error");
    assert_eq!(failed(MadeBridge::boxed("seven")).1.message(), "invalid digit found in string");
    assert_eq!(failed(MadeBridge::found(false)).1.message(), "Made::found returned None");
    Passed
}

fn functions_without_an_object_run_there() -> Outcome {
    let made = MadeBridge::new();
    made.start().unwrap();
    let (answer, pid) = made.answer().unwrap();
    assert_eq!((answer, Some(pid)), (42, made.process().pid()));
    let mut numbers = vec![1, 2, 3];
    assert_eq!(made.sum(&mut numbers).unwrap(), 6);
    assert!(numbers.is_empty());
    Passed
}

mod way {
    pub(super) use cross_process_bridge as other;
}

/// With options.
struct Mixed {
    notes: Vec<u8>,
}

#[way::other::bridge(name = RemoteMixed, vis = pub(crate), crate = way::other)]
impl Mixed {
    pub(crate) fn new() -> Mixed {
        Mixed { notes: Vec::new() }
    }

    /// What a bridge has of its own under this name.
    #[bridge(rename = "state")]
    fn process(&self) -> String {
        format!("{:?}", self.notes)
    }

    #[bridge(skip)]
    fn lent(&self) -> &[u8] {
        &self.notes
    }

    #[cfg(any())]
    fn of_another_platform(&self) -> DoesNotExist {
        self.does_not_exist()
    }

    #[cfg(not(any()))]
    fn count(&self) -> usize {
        self.lent().len()
    }

    #[cfg(any())]
    fn count(&self) -> u8 {
        0
    }

    #[cfg(any())]
    fn start(&self) -> u8 {
        0
    }

    #[cfg_attr(any(), cfg(any()))]
    #[deprecated(note = "of old")]
    #[must_use]
    fn old(&self) -> u8 {
        1
    }

    #[bridge(one_way)]
    fn note(&mut self, number: u8) {
        self.notes.push(number);
    }

    #[bridge(one_way)]
    fn greet(name: &str) {
        assert_eq!(name, "there");
    }

    fn private(&self) -> u8 {
        self.notes.iter().sum()
    }

    fn finish(mut self, last: u8) -> Vec<u8> {
        self.notes.push(last);
        self.notes
    }

    fn give_up(self) -> Result<PathBuf, String> {
        Err("given up".to_owned())
    }
}

fn started() -> RemoteMixed {
    let mixed = RemoteMixed::new();
    mixed.start().unwrap();
    mixed
}

fn a_method_that_takes_the_object_returns_what_it_has() -> Outcome {
    let mixed = started();
    mixed.note(1).unwrap();
    let clone = mixed.clone();
    assert_eq!(mixed.finish(2).unwrap(), [1, 2]);
    assert!(matches!(clone.count().unwrap_err(), BridgeError::NotStarted { .. }));
    clone.start().unwrap();
    assert_eq!(clone.give_up().unwrap(), Err("given up".to_owned()));
    Passed
}

fn methods_are_renamed_skipped_and_conditional() -> Outcome {
    let mixed = started();
    assert_eq!(mixed.state().unwrap(), "[]");
    assert_eq!(mixed.count().unwrap(), 0_usize);
    #[expect(deprecated, reason = "as the object's method is")]
    let old = mixed.old().unwrap();
    assert_eq!((old, mixed.private().unwrap()), (1, 0));
    Passed
}

fn a_one_way_method_is_carried_out_before_the_next_call() -> Outcome {
    let mixed = started();
    for number in 1..=100 {
        mixed.note(number).unwrap();
    }
    mixed.greet("there").unwrap();
    assert_eq!(mixed.count().unwrap(), 100);
    Passed
}

#[bridge]
#[cfg(any())]
impl OfAnotherPlatform {
    fn new() -> OfAnotherPlatform {
        OfAnotherPlatform
    }
}

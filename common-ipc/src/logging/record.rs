//! A record on its way: as bytes that fit into one packet, and as a record again.

use std::borrow::Cow;

use log::kv::{self, Key, Source, ToValue, VisitSource, VisitValue};
use log::{Level, Log, Record};
use serde::{Deserialize, Serialize};

use crate::link::codec;
use crate::logging::cutting::Scissors;

/// The longest packet. What is in it is cut so that it fits.
pub(super) const PACKET_MAX: usize = 64 * 1024;
const MESSAGE_MAX: usize = 48 * 1024;
/// Of all key-values together, each with [`VALUE_COST`].
const VALUES_MAX: usize = 8 * 1024;
/// What a key-value takes beside its texts, at the most.
const VALUE_COST: usize = 32;
/// Of a target, a module path, a process.
pub(super) const NAME_MAX: usize = 1024;
const FILE_MAX: usize = 4096;

/// The key of the process id, and that of the process's name.
const PID: &str = "pid";
const PROCESS: &str = "process";

/// What a child sends.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Packet<'a> {
    /// So many records of this process were dropped since it last told.
    pub(super) lost: u64,
    /// Its name, unless the program knows that.
    pub(super) process: Cow<'a, str>,
    pub(super) entry: Option<Entry<'a>>,
}

/// A record.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    /// 1 for an error to 5 for a trace.
    level: u8,
    target: Cow<'a, str>,
    module: Option<Cow<'a, str>>,
    file: Option<Cow<'a, str>>,
    line: Option<u32>,
    message: Cow<'a, str>,
    values: Vec<(Cow<'a, str>, Value<'a>)>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Value<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    LargeUnsigned(u128),
    LargeSigned(i128),
    Float(f64),
    Char(char),
    Text(Cow<'a, str>),
}

impl Packet<'_> {
    /// As bytes, [`PACKET_MAX`] at the most.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        codec::encode(self).ok().filter(|bytes| bytes.len() <= PACKET_MAX)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Packet<'static>> {
        codec::decode(bytes).ok()
    }
}

impl<'a> Entry<'a> {
    pub(super) fn of(record: &Record<'a>) -> Entry<'a> {
        let mut scissors = Scissors::default();
        let mut taker = Taker { taken: Vec::new(), left: VALUES_MAX, scissors: &mut scissors };
        // A source that fails has given what it could.
        let _ = record.key_values().visit(&mut taker);
        let values = taker.taken;
        let target = scissors.shorten(record.target(), NAME_MAX);
        let module = record.module_path().map(|text| scissors.shorten(text, NAME_MAX));
        let file = record.file().map(|text| scissors.shorten(text, FILE_MAX));
        let mut message = match record.args().as_str() {
            Some(text) => scissors.shorten(text, MESSAGE_MAX),
            None => Cow::Owned(scissors.display(record.args(), MESSAGE_MAX)),
        };
        if scissors.cut > 0 {
            message.to_mut().push_str(&format!(" [cut: {} bytes]", scissors.cut));
        }
        Entry { level: record.level() as u8, target, module, file, line: record.line(), message, values }
    }

    /// Hands it to the logger, unless the program wants nothing of its level.
    pub(super) fn hand_over(&self, logger: &dyn Log, pid: u32, process: &str) {
        let level = Level::iter().nth(usize::from(self.level).wrapping_sub(1));
        let Some(level) = level.filter(|level| *level <= log::max_level()) else { return };
        let values = Values { own: &self.values, pid, process };
        logger.log(
            &Record::builder()
                .level(level)
                .target(&self.target)
                .module_path(self.module.as_deref())
                .file(self.file.as_deref())
                .line(self.line)
                .key_values(&values)
                .args(format_args!("{}", self.message))
                .build(),
        );
    }

    /// What the library itself says of a process.
    pub(super) fn warning(message: String) -> Entry<'static> {
        Entry {
            level: Level::Warn as u8,
            target: Cow::Borrowed("common_ipc::logging"),
            module: Some(Cow::Borrowed(module_path!())),
            file: None,
            line: None,
            message: Cow::Owned(message),
            values: Vec::new(),
        }
    }
}

/// In the child: takes key-values as they are, as far as there is room.
struct Taker<'s> {
    taken: Vec<(Cow<'static, str>, Value<'static>)>,
    left: usize,
    scissors: &'s mut Scissors,
}

impl<'kvs> VisitSource<'kvs> for Taker<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let Some(left) = self.left.checked_sub(VALUE_COST + key.as_str().len()) else {
            self.scissors.cut += key.as_str().len();
            return Ok(());
        };
        let mut typed = Typed { value: Value::Null, left, scissors: self.scissors };
        let visited = value.visit(&mut typed);
        let value = typed.value;
        self.left = match &value {
            Value::Text(text) => left - text.len(),
            _ => left,
        };
        self.taken.push((Cow::Owned(key.as_str().to_owned()), value));
        visited
    }
}

/// A value as its type, or as text.
struct Typed<'s> {
    value: Value<'static>,
    left: usize,
    scissors: &'s mut Scissors,
}

macro_rules! visit_plain {
    ($($visit:ident: $type:ty => $variant:ident),* $(,)?) => {
        $(
            fn $visit(&mut self, value: $type) -> Result<(), kv::Error> {
                self.value = Value::$variant(value);
                Ok(())
            }
        )*
    };
}

impl<'v> VisitValue<'v> for Typed<'_> {
    visit_plain!(
        visit_u64: u64 => Unsigned,
        visit_i64: i64 => Signed,
        visit_u128: u128 => LargeUnsigned,
        visit_i128: i128 => LargeSigned,
        visit_f64: f64 => Float,
        visit_bool: bool => Bool,
        visit_char: char => Char,
    );

    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.value = Value::Text(Cow::Owned(self.scissors.display(&value, self.left)));
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.value = Value::Null;
        Ok(())
    }

    fn visit_str(&mut self, text: &str) -> Result<(), kv::Error> {
        self.value = Value::Text(Cow::Owned(self.scissors.shorten(text, self.left).into_owned()));
        Ok(())
    }
}

/// In the program: a record's key-values, and whose it is.
struct Values<'a> {
    own: &'a [(Cow<'a, str>, Value<'a>)],
    pid: u32,
    process: &'a str,
}

impl Values<'_> {
    fn pairs(&self) -> impl Iterator<Item = (&str, kv::Value<'_>)> {
        let own = self.own.iter().map(|(key, value)| (&**key, value.to_value()));
        // Nobody says himself who he is.
        let own = own.filter(|(key, _)| ![PID, PROCESS].contains(key));
        own.chain([(PID, self.pid.to_value()), (PROCESS, self.process.to_value())])
    }
}

impl Source for Values<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        self.pairs().try_for_each(|(key, value)| visitor.visit_pair(Key::from_str(key), value))
    }
}

impl ToValue for Value<'_> {
    fn to_value(&self) -> kv::Value<'_> {
        match self {
            Value::Null => kv::Value::null(),
            Value::Bool(value) => kv::Value::from(*value),
            Value::Unsigned(value) => kv::Value::from(*value),
            Value::Signed(value) => kv::Value::from(*value),
            Value::LargeUnsigned(value) => kv::Value::from(value),
            Value::LargeSigned(value) => kv::Value::from(value),
            Value::Float(value) => kv::Value::from(*value),
            Value::Char(value) => kv::Value::from(*value),
            Value::Text(text) => kv::Value::from(&**text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    use proptest::prelude::*;

    /// Keeps what it is handed, as text.
    #[derive(Default)]
    struct Keeps(Mutex<Vec<String>>);

    impl Log for Keeps {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            struct Pairs(Vec<String>);
            impl<'kvs> VisitSource<'kvs> for Pairs {
                fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
                    self.0.push(format!("{key}={value:?}"));
                    Ok(())
                }
            }
            let mut pairs = Pairs(Vec::new());
            record.key_values().visit(&mut pairs).unwrap();
            let place = (record.target(), record.module_path(), record.file(), record.line());
            let text = format!("{} {place:?} {} {}", record.level(), record.args(), pairs.0.join(" "));
            self.0.lock().unwrap().push(text);
        }

        fn flush(&self) {}
    }

    /// The way from a child to the logger.
    fn carried(record: &Record<'_>) -> String {
        log::set_max_level(log::LevelFilter::Trace);
        let packet = Packet { lost: 3, process: Cow::Borrowed("p"), entry: Some(Entry::of(record)) };
        let arrived = Packet::decode(&packet.encode().unwrap()).unwrap();
        assert_eq!(arrived, packet);
        let keeps = Keeps::default();
        arrived.entry.unwrap().hand_over(&keeps, 77, "name");
        keeps.0.into_inner().unwrap().remove(0)
    }

    #[test]
    fn all_of_a_record_comes_back() {
        let values = [
            ("text", "a b".to_value()),
            ("large", u128::MAX.to_value()),
            ("less", (-5).to_value()),
            ("half", 0.5.to_value()),
            ("pid", 1.to_value()),
            ("shown", kv::Value::from_debug(&Some(1))),
        ];
        let expected = r#"TRACE ("t", Some("m"), Some("f"), Some(4)) 1 and 2 text="a b" "#.to_owned()
            + &format!("large={} less=-5 half=0.5 ", u128::MAX)
            + r#"shown="Some(1)" pid=77 process="name""#;
        let mut record = Record::builder();
        record.level(Level::Trace).target("t").module_path(Some("m")).file(Some("f")).line(Some(4));
        let text = carried(&record.key_values(&values).args(format_args!("{} and {}", 1, 2)).build());
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = "\u{e4}".repeat(100_000);
        let values = [("first", long.as_str()), ("second", "no room")];
        let mut record = Record::builder();
        record.target(&long).module_path(Some(&long)).file(Some(&long));
        let text = carried(&record.key_values(&values).args(format_args!("x{long}{long}")).build());
        let kept = text.matches('\u{e4}').count() * 2;
        let cut = 6 * long.len() - kept + "second".len();
        assert!(text.contains(&format!(" [cut: {cut} bytes] first=")), "{}", text.len());
        assert!(kept > MESSAGE_MAX + VALUES_MAX && text.len() < PACKET_MAX, "{kept}, {}", text.len());
    }

    proptest! {
        #[test]
        fn garbage_is_nothing_or_a_packet(bytes in any::<Vec<u8>>()) {
            if let Some(Packet { entry: Some(entry), .. }) = Packet::decode(&bytes) {
                entry.hand_over(&Keeps::default(), 1, "");
            }
        }
    }
}

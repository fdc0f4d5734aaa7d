//! What goes between the manager's clients and its process.

use common_ipc::link::Bytes;
use serde::{Deserialize, Serialize};

/// What requests to the built-in kinds are called: no interface of a bridge has this number.
pub(crate) const BUILT_IN: u32 = (u16::MAX as u32 - 1) << 16;
/// The kinds of replies: an [`Answer`], or what a bridged object replies.
pub(crate) const ANSWER: u32 = u32::MAX - 1;

/// Which object. Who wasn't told the key doesn't reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) id: u64,
    pub(crate) key: u64,
}

/// How many bytes an address has in front of a bridged object's arguments.
pub(crate) const ADDRESS: usize = 16;

impl Address {
    /// From its bytes, which are those of the codec.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Address> {
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Address { id: word(0)?, key: word(8)? })
    }
}

/// An operation of a built-in kind. Values are encoded; what waits has a number of its client's choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Op {
    Delete,
    Length,
    Clear,
    GiveUp { wait: u64 },
    ListAppend(Bytes),
    ListExtend(Vec<Bytes>),
    ListGet(u64),
    ListSet(u64, Bytes),
    ListInsert(u64, Bytes),
    ListRemove(u64),
    ListPop,
    ListContains(Bytes),
    ListPage { from: u64, count: u64, bytes: u64 },
    MapInsert(Bytes, Bytes),
    MapGet(Bytes),
    MapRemove(Bytes),
    MapContains(Bytes),
    MapGetOrInsert(Bytes, Bytes),
    MapPut { key: Bytes, expected: Option<u64>, value: Option<Bytes> },
    MapCompareAndSet { key: Bytes, expected: Option<Bytes>, value: Option<Bytes> },
    MapPage { after: Option<Bytes>, keys_only: bool, bytes: u64 },
    ValueGet,
    ValueSet(Bytes),
    ValueReplace(Bytes),
    ValuePut { expected: u64, value: Bytes },
    ValueCompareAndSet { expected: Bytes, value: Bytes },
    Lock { wait: u64, now: bool },
    Unlock { wait: u64 },
    QueueSend { wait: u64, item: Bytes, now: bool },
    QueueRecv { wait: u64, now: bool },
    QueueReceived { wait: u64 },
    EventSet,
    EventClear,
    EventIsSet,
    EventWait { wait: u64 },
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Is(bool),
    Count(u64),
    Value(Option<Bytes>),
    /// With its version.
    Versioned(Option<(u64, Bytes)>),
    /// And whether there is more.
    Page(Vec<Bytes>, bool),
    Entries(Vec<(Bytes, Bytes)>, bool),
    /// The lock is held; whether its holder before died with it.
    Locked {
        holder_died: bool,
    },
    /// It can't be done now.
    NotNow,
    Made(Address),
    Failed(Failure),
}

/// Why an operation isn't carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    Deleted,
    WrongKind { is: String },
    Full { max: u64 },
    TooManyWaits { max: u64 },
    TooManyDescriptors { max: u64 },
    OutOfRange { index: u64, length: u64 },
    Undecodable(String),
}

/// A new object of a built-in kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Made {
    List,
    Map,
    Value(Bytes),
    Lock,
    Queue { capacity: u64, bytes: u64 },
    Event,
}

//! Maps and single values, each with the version of its last change.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Bound;

use common_ipc::link::Bytes;

use crate::manager::server::memory::{Memory, Page};
use crate::manager::server::store::Outcome;
use crate::manager::wire::{Answer, Failure, Op};

/// A value, and when it was put there.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) version: u64,
    pub(super) value: Bytes,
}

impl Entry {
    pub(super) fn carry_out(&mut self, op: Op, memory: &mut Memory) -> Outcome {
        let (value, old) = match op {
            Op::ValueGet => return Ok(Answer::Versioned(Some((self.version, self.value.clone())))),
            Op::ValueSet(value) => (value, false),
            Op::ValueReplace(value) => (value, true),
            Op::ValuePut { expected, value } if expected == self.version => (value, false),
            Op::ValueCompareAndSet { expected, value } if expected == self.value => (value, false),
            Op::ValuePut { .. } | Op::ValueCompareAndSet { .. } => {
                return Ok(Answer::Versioned(Some((self.version, self.value.clone()))));
            }
            _ => return Err(None),
        };
        let before = self.put(value, memory)?;
        Ok(if old { Answer::Value(Some(before)) } else { Answer::Done })
    }

    fn put(&mut self, value: Bytes, memory: &mut Memory) -> Result<Bytes, Failure> {
        memory.take(0, value.len())?;
        memory.give_back(0, self.value.len());
        self.version = memory.next_version();
        Ok(std::mem::replace(&mut self.value, value))
    }
}

/// Values by the bytes of their keys.
#[derive(Debug, Default)]
pub(super) struct Map {
    entries: BTreeMap<Bytes, Entry>,
}

impl Map {
    /// How many values are kept, a key being one, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let bytes = self.entries.iter().map(|(key, entry)| key.len() + entry.value.len()).sum();
        (self.entries.len() * 2, bytes)
    }

    pub(super) fn carry_out(&mut self, op: Op, memory: &mut Memory) -> Outcome {
        match op {
            Op::Length => Ok(Answer::Count(self.entries.len() as u64)),
            Op::Clear => {
                let (count, bytes) = self.size();
                self.entries.clear();
                memory.give_back(count, bytes);
                Ok(Answer::Done)
            }
            Op::MapInsert(key, value) => Ok(Answer::Value(self.put(key, value, memory)?)),
            Op::MapGet(key) => Ok(self.versioned(&key)),
            Op::MapRemove(key) => Ok(Answer::Value(self.remove(&key, memory))),
            Op::MapContains(key) => Ok(Answer::Is(self.entries.contains_key(&key))),
            Op::MapGetOrInsert(key, value) => {
                if !self.entries.contains_key(&key) {
                    self.put(key.clone(), value, memory)?;
                }
                Ok(self.versioned(&key))
            }
            Op::MapPut { key, expected, value } => {
                let is_so = self.entries.get(&key).map(|entry| entry.version) == expected;
                self.change_if(is_so, key, value, memory)
            }
            Op::MapCompareAndSet { key, expected, value } => {
                let is_so = self.entries.get(&key).map(|entry| &entry.value) == expected.as_ref();
                self.change_if(is_so, key, value, memory)
            }
            Op::MapPage { after, keys_only, bytes } => Ok(self.page(after, keys_only, memory.page(bytes))),
            _ => Err(None),
        }
    }

    fn versioned(&self, key: &Bytes) -> Answer {
        Answer::Versioned(self.entries.get(key).map(|entry| (entry.version, entry.value.clone())))
    }

    fn change_if(&mut self, is_so: bool, key: Bytes, value: Option<Bytes>, memory: &mut Memory) -> Outcome {
        if !is_so {
            return Ok(self.versioned(&key));
        }
        match value {
            Some(value) => drop(self.put(key, value, memory)?),
            None => drop(self.remove(&key, memory)),
        }
        Ok(Answer::Done)
    }

    fn put(&mut self, key: Bytes, value: Bytes, memory: &mut Memory) -> Result<Option<Bytes>, Failure> {
        match self.entries.entry(key) {
            btree_map::Entry::Occupied(mut known) => known.get_mut().put(value, memory).map(Some),
            btree_map::Entry::Vacant(place) => {
                memory.take(2, place.key().len() + value.len())?;
                place.insert(Entry { version: memory.next_version(), value });
                Ok(None)
            }
        }
    }

    fn remove(&mut self, key: &Bytes, memory: &mut Memory) -> Option<Bytes> {
        let entry = self.entries.remove(key)?;
        memory.give_back(2, key.len() + entry.value.len());
        Some(entry.value)
    }

    fn page(&self, after: Option<Bytes>, keys_only: bool, mut room: Page) -> Answer {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.entries.range((begin, Bound::Unbounded));
        let mut page = Vec::new();
        let mut more = false;
        for (key, entry) in rest.by_ref() {
            let value = if keys_only { Bytes::new() } else { entry.value.clone() };
            if !room.fits(key.len() + value.len()) {
                more = true;
                break;
            }
            page.push((key.clone(), value));
        }
        Answer::Entries(page, more)
    }
}

//! Lists.

use std::collections::VecDeque;

use common_ipc::link::Bytes;

use crate::manager::server::memory::Memory;
use crate::manager::server::store::Outcome;
use crate::manager::wire::{Answer, Failure, Op};

/// A list keeps so many places, used or not.
const KEPT_PLACES: usize = 1024;

/// What nobody counts any more isn't kept either.
fn shrink(list: &mut VecDeque<Bytes>) {
    if list.capacity() > KEPT_PLACES && list.len() < list.capacity() / 4 {
        list.shrink_to(list.len() * 2);
    }
}

pub(super) fn carry_out(list: &mut VecDeque<Bytes>, op: Op, memory: &mut Memory) -> Outcome {
    let length = list.len() as u64;
    let out_of_range = |index| Err(Some(Failure::OutOfRange { index, length }));
    let given_back = |memory: &mut Memory, value: Option<Bytes>| {
        if let Some(value) = &value {
            memory.give_back(1, value.len());
        }
        Ok(Answer::Value(value))
    };
    match op {
        Op::Length => Ok(Answer::Count(length)),
        Op::Clear => {
            let values = std::mem::take(list);
            memory.give_back(values.len(), values.iter().map(|value| value.len()).sum());
            Ok(Answer::Done)
        }
        Op::ListAppend(value) => {
            memory.take(1, value.len())?;
            list.push_back(value);
            Ok(Answer::Done)
        }
        Op::ListExtend(values) => {
            memory.take(values.len(), values.iter().map(|value| value.len()).sum())?;
            list.extend(values);
            Ok(Answer::Done)
        }
        Op::ListGet(index) => Ok(Answer::Value(list.get(index as usize).cloned())),
        Op::ListSet(index, value) => {
            let Some(place) = list.get_mut(index as usize) else { return out_of_range(index) };
            memory.take(1, value.len())?;
            let before = std::mem::replace(place, value);
            memory.give_back(1, before.len());
            Ok(Answer::Done)
        }
        Op::ListInsert(index, value) => {
            if index > length {
                return out_of_range(index);
            }
            memory.take(1, value.len())?;
            list.insert(index as usize, value);
            Ok(Answer::Done)
        }
        Op::ListRemove(index) => {
            let value = list.remove(index as usize);
            shrink(list);
            given_back(memory, value)
        }
        Op::ListPop => {
            let value = list.pop_back();
            shrink(list);
            given_back(memory, value)
        }
        Op::ListContains(value) => Ok(Answer::Is(list.contains(&value))),
        Op::ListPage { from, count, bytes } => {
            let mut room = memory.page(bytes);
            let page: Vec<Bytes> = list
                .iter()
                .skip(usize::try_from(from).unwrap_or(usize::MAX))
                .take(usize::try_from(count).unwrap_or(usize::MAX))
                .take_while(|value| room.fits(value.len()))
                .cloned()
                .collect();
            let end = from.saturating_add(page.len() as u64);
            let more = end < length && (page.len() as u64) < count;
            Ok(Answer::Page(page, more))
        }
        _ => Err(None),
    }
}

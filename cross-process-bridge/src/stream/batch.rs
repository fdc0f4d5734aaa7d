//! The items that have come and weren't taken yet.

use std::fmt;

use common_ipc::link::codec::DecodeError;
use common_ipc::link::{Bytes, Execution};

use crate::error::BridgeError;
use crate::outlet::{Batch, End, LENGTH, length_at};
use crate::reply;

type Read<T> = Box<dyn Fn(&[u8]) -> Result<T, DecodeError> + Send + Sync>;

/// Some items of a stream, as they came.
pub(super) struct Items<T> {
    method: &'static str,
    read: Read<T>,
    bytes: Bytes,
    /// Those before it were taken.
    at: usize,
    /// It came with nothing in it, and would be asked for again and again.
    is_hollow: bool,
    end: Option<End>,
    /// Nothing comes after this.
    is_over: bool,
}

/// What there is.
pub(super) enum Next<T> {
    Item(T),
    /// Nothing more, but perhaps an error.
    End(Option<BridgeError>),
    /// It can't be read.
    Nonsense(BridgeError),
    /// Nothing at the moment.
    Empty,
}

impl<T> Items<T> {
    pub(super) fn new(
        method: &'static str,
        read: impl Fn(&[u8]) -> Result<T, DecodeError> + Send + Sync + 'static,
    ) -> Items<T> {
        let (read, bytes) = (Box::new(read), Bytes::new());
        Items { method, read, bytes, at: 0, is_hollow: false, end: None, is_over: false }
    }

    pub(super) fn next(&mut self) -> Next<T> {
        if self.is_over {
            return Next::Empty;
        }
        if self.at == self.bytes.len() {
            if self.is_hollow {
                return self.nonsense("a batch without items or an end");
            }
            let Some(end) = self.end.take() else { return Next::Empty };
            self.is_over = true;
            return Next::End(match end {
                End::Over => None,
                End::Failed(failure) => Some(failure.of(self.method)),
            });
        }
        let from = self.at + LENGTH;
        let bytes = length_at(&self.bytes, self.at).and_then(|length| {
            self.at = from.checked_add(length)?;
            self.bytes.get(from..self.at)
        });
        let Some(bytes) = bytes else { return self.nonsense("an item that isn't whole") };
        match (self.read)(bytes) {
            Ok(item) => Next::Item(item),
            Err(error) => {
                self.is_over = true;
                Next::Nonsense(reply::unreadable(self.method, error))
            }
        }
    }

    /// Once all were taken.
    pub(super) fn refill(&mut self, batch: Batch) {
        self.is_hollow = batch.items.is_empty() && batch.end.is_none();
        (self.bytes, self.at, self.end) = (batch.items, 0, batch.end);
    }

    fn nonsense(&mut self, what: &str) -> Next<T> {
        self.is_over = true;
        Next::Nonsense(BridgeError::Decode {
            method: self.method,
            type_name: "the items of a stream".to_owned(),
            message: what.to_owned(),
            execution: Execution::Ran,
        })
    }
}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("bytes", &(self.bytes.len() - self.at)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common_ipc::link::codec::{decode, encode};

    fn items() -> Items<u16> {
        Items::new("Numbers::all", decode::<u16>)
    }

    fn batch(values: &[u16], end: Option<End>) -> Batch {
        let mut bytes = Vec::new();
        for value in values {
            bytes.extend(2u32.to_le_bytes());
            bytes.extend(encode(value).unwrap());
        }
        Batch { items: bytes.into(), end }
    }

    #[test]
    fn items_come_in_their_order_and_then_the_end() {
        let mut items = items();
        assert!(matches!(items.next(), Next::Empty));
        items.refill(batch(&[1, 2], None));
        assert!(matches!(items.next(), Next::Item(1)));
        assert!(matches!(items.next(), Next::Item(2)));
        assert!(matches!(items.next(), Next::Empty));
        items.refill(batch(&[3], Some(End::Over)));
        assert!(matches!(items.next(), Next::Item(3)));
        assert!(matches!(items.next(), Next::End(None)));
        assert!(matches!(items.next(), Next::Empty));
    }

    #[test]
    fn nonsense_is_an_error_and_the_last_thing() {
        for bytes in [vec![1], vec![2, 0, 0, 0, 7], vec![255; 8], vec![1, 0, 0, 0, 7]] {
            let mut items = items();
            items.refill(Batch { items: bytes.into(), end: None });
            assert!(matches!(items.next(), Next::Nonsense(BridgeError::Decode { .. })));
            assert!(matches!(items.next(), Next::Empty));
        }
        let mut items = items();
        items.refill(batch(&[], None));
        assert!(matches!(items.next(), Next::Nonsense(_)));
    }
}

//! A list in the manager.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use common_ipc::link::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::manager::error::ManagerError;
use crate::manager::proxy::{Proxy, nonsense};
use crate::manager::wire::{Answer, Op};

/// A list that several processes share: a proxy of one in the manager, made by
/// [`Manager::list`](crate::manager::Manager::list).
///
/// Each operation is carried out whole, one after another of all clients. What several have to do together takes a
/// [`SharedLock`](crate::manager::SharedLock).
#[doc(alias = "ListProxy")]
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct SharedList<T> {
    pub(crate) proxy: Proxy,
    #[serde(skip)]
    values: PhantomData<fn(T) -> T>,
}

/// So many bytes come at once.
pub(crate) const PAGE: u64 = 1 << 20;

impl<T> SharedList<T> {
    pub(crate) fn new(proxy: Proxy) -> SharedList<T> {
        SharedList { proxy, values: PhantomData }
    }

    /// The same list, each of whose operations may take so long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> SharedList<T> {
        SharedList::new(Proxy { timeout: Some(timeout), ..self.proxy.clone() })
    }

    /// How many elements it has.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn len(&self) -> Result<usize, ManagerError> {
        match self.proxy.ask("SharedList::len", &Op::Length)? {
            Answer::Count(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            _ => Err(nonsense("SharedList::len")),
        }
    }

    /// Whether it has no elements.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|length| length == 0)
    }

    /// Takes all elements out.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.proxy.ask("SharedList::clear", &Op::Clear).map(drop)
    }

    /// Ends the list itself, for all who have it: their operations are [`ManagerError::Deleted`].
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn delete(&self) -> Result<(), ManagerError> {
        self.proxy.delete("SharedList::delete")
    }
}

impl<T: Serialize + DeserializeOwned> SharedList<T> {
    /// Puts an element at the end.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Full`] if the manager may keep no more; else [`ManagerError`].
    #[doc(alias = "push")]
    pub fn append(&self, value: &T) -> Result<(), ManagerError> {
        const NAME: &str = "SharedList::append";
        self.proxy.ask(NAME, &Op::ListAppend(self.proxy.encode(NAME, value)?)).map(drop)
    }

    /// Puts these at the end, all together.
    ///
    /// # Errors
    ///
    /// As for [`append`](SharedList::append).
    pub fn extend<'a>(&self, values: impl IntoIterator<Item = &'a T>) -> Result<(), ManagerError>
    where
        T: 'a,
    {
        const NAME: &str = "SharedList::extend";
        let values = values.into_iter().map(|value| self.proxy.encode(NAME, value));
        self.proxy.ask(NAME, &Op::ListExtend(values.collect::<Result<_, _>>()?)).map(drop)
    }

    /// The element at a place, or `None` beyond the end.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn get(&self, index: usize) -> Result<Option<T>, ManagerError> {
        self.one("SharedList::get", &Op::ListGet(index as u64))
    }

    /// Puts another element in a place.
    ///
    /// # Errors
    ///
    /// [`ManagerError::OutOfRange`]; else as for [`append`](SharedList::append).
    pub fn set(&self, index: usize, value: &T) -> Result<(), ManagerError> {
        const NAME: &str = "SharedList::set";
        self.proxy.ask(NAME, &Op::ListSet(index as u64, self.proxy.encode(NAME, value)?)).map(drop)
    }

    /// Puts an element before that at a place, or at the end, if that is the length.
    ///
    /// # Errors
    ///
    /// [`ManagerError::OutOfRange`]; else as for [`append`](SharedList::append).
    pub fn insert(&self, index: usize, value: &T) -> Result<(), ManagerError> {
        const NAME: &str = "SharedList::insert";
        self.proxy.ask(NAME, &Op::ListInsert(index as u64, self.proxy.encode(NAME, value)?)).map(drop)
    }

    /// Takes the element at a place out; `None` beyond the end.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn remove(&self, index: usize) -> Result<Option<T>, ManagerError> {
        self.one("SharedList::remove", &Op::ListRemove(index as u64))
    }

    /// Takes the last element out; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn pop(&self) -> Result<Option<T>, ManagerError> {
        self.one("SharedList::pop", &Op::ListPop)
    }

    /// Whether an element is in it: one whose encoding has the same bytes.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn contains(&self, value: &T) -> Result<bool, ManagerError> {
        const NAME: &str = "SharedList::contains";
        match self.proxy.ask(NAME, &Op::ListContains(self.proxy.encode(NAME, value)?))? {
            Answer::Is(is) => Ok(is),
            _ => Err(nonsense(NAME)),
        }
    }

    /// A copy of all elements. More than 1 MiB of them come by several operations, between which others may change
    /// the list.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        self.slice(0..usize::MAX)
    }

    /// A copy of the elements at these places, as far as there are such. Else as [`to_vec`](SharedList::to_vec).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn slice(&self, range: std::ops::Range<usize>) -> Result<Vec<T>, ManagerError> {
        let mut values = Vec::new();
        let mut next = range.start;
        while next < range.end {
            let (page, more) = self.page("SharedList::slice", next, range.end - next)?;
            next = next.saturating_add(page.len());
            let is_last = !more || page.is_empty();
            values.extend(page);
            if is_last {
                break;
            }
        }
        Ok(values)
    }

    /// The elements one after another, of which some are fetched at a time: what others do to the list meanwhile may be
    /// seen or not. After an error there is no more.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, ManagerError>> + '_ {
        let (mut next, mut more) = (0, true);
        let mut page = Vec::new().into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(value) = page.next() {
                    return Some(Ok(value));
                }
                if !std::mem::take(&mut more) {
                    return None;
                }
                match self.page("SharedList::iter", next, usize::MAX) {
                    Ok((values, is_more)) => {
                        next += values.len();
                        (page, more) = (values.into_iter(), is_more);
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }

    fn page(&self, name: &'static str, from: usize, count: usize) -> Result<(Vec<T>, bool), ManagerError> {
        let op = Op::ListPage { from: from as u64, count: count as u64, bytes: PAGE };
        let Answer::Page(values, more) = self.proxy.ask(name, &op)? else { return Err(nonsense(name)) };
        let values = values.iter().map(|bytes| self.proxy.decode(name, bytes)).collect::<Result<_, _>>()?;
        Ok((values, more))
    }

    fn one(&self, name: &'static str, op: &Op) -> Result<Option<T>, ManagerError> {
        let Answer::Value(value) = self.proxy.ask(name, op)? else { return Err(nonsense(name)) };
        value.map(|bytes: Bytes| self.proxy.decode(name, &bytes)).transpose()
    }
}

impl<T> Clone for SharedList<T> {
    fn clone(&self) -> Self {
        SharedList::new(self.proxy.clone())
    }
}

impl<T> fmt::Debug for SharedList<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedList<{}>(#{})", std::any::type_name::<T>(), self.proxy.address.id)
    }
}

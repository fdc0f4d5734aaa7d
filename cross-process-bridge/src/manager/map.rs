//! A map in the manager.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use common_ipc::link::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::manager::error::ManagerError;
use crate::manager::list::PAGE;
use crate::manager::proxy::{Proxy, nonsense};
use crate::manager::wire::{Answer, Op};

/// A map that several processes share: a proxy of one in the manager, made by
/// [`Manager::map`](crate::manager::Manager::map).
///
/// Keys are the same if their encodings have the same bytes, and are in the order of those: of integers and texts of one
/// length that order means something, else it is only always the same. Where a key is asked for, what `K` can be borrowed as
/// will do, a `&str` for a `String`: it must have the same encoding, as texts and slices have. Each operation is carried out whole, one after
/// another of all clients.
#[doc(alias = "DictProxy")]
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct SharedMap<K, V> {
    pub(crate) proxy: Proxy,
    #[serde(skip)]
    entries: PhantomData<fn() -> (K, V)>,
}

impl<K, V> SharedMap<K, V> {
    pub(crate) fn new(proxy: Proxy) -> SharedMap<K, V> {
        SharedMap { proxy, entries: PhantomData }
    }

    /// The same map, each of whose operations may take so long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> SharedMap<K, V> {
        SharedMap::new(Proxy { timeout: Some(timeout), ..self.proxy.clone() })
    }

    /// How many entries it has.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn len(&self) -> Result<usize, ManagerError> {
        match self.proxy.ask("SharedMap::len", &Op::Length)? {
            Answer::Count(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            _ => Err(nonsense("SharedMap::len")),
        }
    }

    /// Whether it has no entries.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|length| length == 0)
    }

    /// Takes all entries out.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.proxy.ask("SharedMap::clear", &Op::Clear).map(drop)
    }

    /// Ends the map itself, for all who have it: their operations are [`ManagerError::Deleted`].
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn delete(&self) -> Result<(), ManagerError> {
        self.proxy.delete("SharedMap::delete")
    }
}

/// A value and its version.
type Versioned = Option<(u64, Bytes)>;

impl<K, V> SharedMap<K, V>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    /// Puts a value under a key, and returns what was there.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Full`] if the manager may keep no more; else [`ManagerError`].
    pub fn insert<Q: Serialize + ?Sized>(&self, key: &Q, value: &V) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        const NAME: &str = "SharedMap::insert";
        self.one(NAME, &Op::MapInsert(self.key(NAME, key)?, self.proxy.encode(NAME, value)?))
    }

    /// The value under a key.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn get<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        const NAME: &str = "SharedMap::get";
        let found = self.versioned(NAME, &Op::MapGet(self.key(NAME, key)?))?;
        found.map(|(_, bytes)| self.proxy.decode(NAME, &bytes)).transpose()
    }

    /// Takes the value under a key out.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    #[doc(alias = "pop")]
    pub fn remove<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        const NAME: &str = "SharedMap::remove";
        self.one(NAME, &Op::MapRemove(self.key(NAME, key)?))
    }

    /// Whether there is a value under a key.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn contains_key<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<bool, ManagerError>
    where
        K: Borrow<Q>,
    {
        const NAME: &str = "SharedMap::contains_key";
        match self.proxy.ask(NAME, &Op::MapContains(self.key(NAME, key)?))? {
            Answer::Is(is) => Ok(is),
            _ => Err(nonsense(NAME)),
        }
    }

    /// The value under a key; if there is none, this one, which is put there.
    ///
    /// # Errors
    ///
    /// As for [`insert`](SharedMap::insert).
    #[doc(alias = "setdefault")]
    pub fn get_or_insert<Q: Serialize + ?Sized>(&self, key: &Q, value: &V) -> Result<V, ManagerError>
    where
        K: Borrow<Q>,
    {
        const NAME: &str = "SharedMap::get_or_insert";
        let op = Op::MapGetOrInsert(self.key(NAME, key)?, self.proxy.encode(NAME, value)?);
        let (_, bytes) = self.versioned(NAME, &op)?.ok_or_else(|| nonsense(NAME))?;
        self.proxy.decode(NAME, &bytes)
    }

    /// Puts `new` under a key if what is there has the bytes of `expected` (`None`: nothing), and says whether it did. A
    /// `new` of `None` takes the entry out.
    ///
    /// # Errors
    ///
    /// As for [`insert`](SharedMap::insert).
    pub fn compare_and_set<Q: Serialize + ?Sized>(
        &self,
        key: &Q,
        expected: Option<&V>,
        new: Option<&V>,
    ) -> Result<bool, ManagerError>
    where
        K: Borrow<Q>,
    {
        const NAME: &str = "SharedMap::compare_and_set";
        let encode = |value: Option<&V>| value.map(|value| self.proxy.encode(NAME, value)).transpose();
        let (expected, value) = (encode(expected)?, encode(new)?);
        self.changed(NAME, &Op::MapCompareAndSet { key: self.key(NAME, key)?, expected, value })
    }

    /// Changes the value under a key by a function of what is there, and returns the new one. `change` runs here; if
    /// anybody has changed the entry meanwhile, it runs again. What it returns as `None` takes the entry out. A caller that is
    /// killed in the midst has changed it or not; where that matters, have the value say who has.
    ///
    /// ```
    /// use cross_process_bridge::manager::{Manager, SharedMap};
    ///
    /// let manager = Manager::start()?;
    /// let counts: SharedMap<String, u32> = manager.map()?;
    /// for word in ["to", "be", "or", "not", "to", "be"] {
    ///     counts.update(word, |count| Some(count.unwrap_or(0) + 1))?;
    /// }
    /// assert_eq!(counts.get("be")?, Some(2));
    /// manager.stop()?;
    /// # Ok::<(), cross_process_bridge::manager::ManagerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`insert`](SharedMap::insert). A time-out is for each try.
    pub fn update<Q: Serialize + ?Sized>(
        &self,
        key: &Q,
        mut change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        const NAME: &str = "SharedMap::update";
        let key = self.key(NAME, key)?;
        loop {
            let found = self.versioned(NAME, &Op::MapGet(key.clone()))?;
            let expected = found.as_ref().map(|(version, _)| *version);
            let value = found.map(|(_, bytes)| self.proxy.decode(NAME, &bytes)).transpose()?;
            let new = change(value);
            let value = new.as_ref().map(|value| self.proxy.encode(NAME, value)).transpose()?;
            if self.changed(NAME, &Op::MapPut { key: key.clone(), expected, value })? {
                return Ok(new);
            }
        }
    }

    /// A copy of all keys. Those of more than 1 MiB come by several operations, between which others may change the map.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn keys(&self) -> Result<Vec<K>, ManagerError> {
        const NAME: &str = "SharedMap::keys";
        self.pages(NAME, true, |key, _| self.proxy.decode(NAME, key))
    }

    /// A copy of all entries; else as [`keys`](SharedMap::keys).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    #[doc(alias = "items")]
    pub fn entries(&self) -> Result<Vec<(K, V)>, ManagerError> {
        const NAME: &str = "SharedMap::entries";
        self.pages(NAME, false, |key, value| {
            Ok((self.proxy.decode(NAME, key)?, self.proxy.decode(NAME, value)?))
        })
    }

    fn pages<R>(
        &self,
        name: &'static str,
        keys_only: bool,
        read: impl Fn(&Bytes, &Bytes) -> Result<R, ManagerError>,
    ) -> Result<Vec<R>, ManagerError> {
        let (mut after, mut all) = (None, Vec::new());
        loop {
            let op = Op::MapPage { after: after.take(), keys_only, bytes: PAGE };
            let Answer::Entries(page, more) = self.proxy.ask(name, &op)? else { return Err(nonsense(name)) };
            for (key, value) in &page {
                all.push(read(key, value)?);
            }
            match page.into_iter().next_back() {
                Some((last, _)) if more => after = Some(last),
                _ => return Ok(all),
            }
        }
    }

    fn key<Q: Serialize + ?Sized>(&self, name: &'static str, key: &Q) -> Result<Bytes, ManagerError> {
        self.proxy.encode_borrowed::<K>(name, key)
    }

    fn one(&self, name: &'static str, op: &Op) -> Result<Option<V>, ManagerError> {
        let Answer::Value(value) = self.proxy.ask(name, op)? else { return Err(nonsense(name)) };
        value.map(|bytes| self.proxy.decode(name, &bytes)).transpose()
    }

    fn versioned(&self, name: &'static str, op: &Op) -> Result<Versioned, ManagerError> {
        match self.proxy.ask(name, op)? {
            Answer::Versioned(found) => Ok(found),
            _ => Err(nonsense(name)),
        }
    }

    fn changed(&self, name: &'static str, op: &Op) -> Result<bool, ManagerError> {
        match self.proxy.ask(name, op)? {
            Answer::Done => Ok(true),
            Answer::Versioned(_) => Ok(false),
            _ => Err(nonsense(name)),
        }
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        SharedMap::new(self.proxy.clone())
    }
}

impl<K, V> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = (std::any::type_name::<K>(), std::any::type_name::<V>());
        write!(f, "SharedMap<{key}, {value}>(#{})", self.proxy.address.id)
    }
}

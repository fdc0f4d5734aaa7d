//! A value in the manager.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use common_ipc::link::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::manager::error::ManagerError;
use crate::manager::proxy::{Proxy, nonsense};
use crate::manager::wire::{Answer, Op};

/// A value that several processes share: a proxy of one in the manager, made by
/// [`Manager::value`](crate::manager::Manager::value).
///
/// Each operation is carried out whole, one after another of all clients.
#[doc(alias = "ValueProxy")]
#[doc(alias = "Namespace")]
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct SharedValue<T> {
    pub(crate) proxy: Proxy,
    #[serde(skip)]
    value: PhantomData<fn(T) -> T>,
}

impl<T> SharedValue<T> {
    pub(crate) fn new(proxy: Proxy) -> SharedValue<T> {
        SharedValue { proxy, value: PhantomData }
    }

    /// The same value, each of whose operations may take so long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> SharedValue<T> {
        SharedValue::new(Proxy { timeout: Some(timeout), ..self.proxy.clone() })
    }

    /// Ends it, for all who have it: their operations are [`ManagerError::Deleted`].
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn delete(&self) -> Result<(), ManagerError> {
        self.proxy.delete("SharedValue::delete")
    }
}

impl<T: Serialize + DeserializeOwned> SharedValue<T> {
    /// A copy of it.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn get(&self) -> Result<T, ManagerError> {
        const NAME: &str = "SharedValue::get";
        let (_, bytes) = self.versioned(NAME)?;
        self.proxy.decode(NAME, &bytes)
    }

    /// Makes it another one.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Full`] if the manager may keep no more; else [`ManagerError`].
    pub fn set(&self, value: &T) -> Result<(), ManagerError> {
        const NAME: &str = "SharedValue::set";
        self.proxy.ask(NAME, &Op::ValueSet(self.proxy.encode(NAME, value)?)).map(drop)
    }

    /// Makes it another one, and returns what it was.
    ///
    /// # Errors
    ///
    /// As for [`set`](SharedValue::set).
    pub fn replace(&self, value: &T) -> Result<T, ManagerError> {
        const NAME: &str = "SharedValue::replace";
        let answer = self.proxy.ask(NAME, &Op::ValueReplace(self.proxy.encode(NAME, value)?))?;
        let Answer::Value(Some(before)) = answer else { return Err(nonsense(NAME)) };
        self.proxy.decode(NAME, &before)
    }

    /// Makes it `new` if it has the bytes of `expected`, and says whether it did.
    ///
    /// # Errors
    ///
    /// As for [`set`](SharedValue::set).
    pub fn compare_and_set(&self, expected: &T, new: &T) -> Result<bool, ManagerError> {
        const NAME: &str = "SharedValue::compare_and_set";
        let (expected, value) = (self.proxy.encode(NAME, expected)?, self.proxy.encode(NAME, new)?);
        self.changed(NAME, &Op::ValueCompareAndSet { expected, value })
    }

    /// Changes it by a function of what it is, and returns the new one. `change` runs here; if anybody has changed it
    /// meanwhile, it runs again.
    ///
    /// ```
    /// use cross_process_bridge::manager::Manager;
    ///
    /// let manager = Manager::start()?;
    /// let sum = manager.value(5_i64)?;
    /// assert_eq!(sum.update(|sum| sum * 2)?, 10);
    /// manager.stop()?;
    /// # Ok::<(), cross_process_bridge::manager::ManagerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`set`](SharedValue::set). A time-out is for each try.
    pub fn update(&self, mut change: impl FnMut(T) -> T) -> Result<T, ManagerError> {
        const NAME: &str = "SharedValue::update";
        loop {
            let (expected, bytes) = self.versioned(NAME)?;
            let new = change(self.proxy.decode(NAME, &bytes)?);
            let value = self.proxy.encode(NAME, &new)?;
            if self.changed(NAME, &Op::ValuePut { expected, value })? {
                return Ok(new);
            }
        }
    }

    fn versioned(&self, name: &'static str) -> Result<(u64, Bytes), ManagerError> {
        match self.proxy.ask(name, &Op::ValueGet)? {
            Answer::Versioned(Some(found)) => Ok(found),
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

impl<T> Clone for SharedValue<T> {
    fn clone(&self) -> Self {
        SharedValue::new(self.proxy.clone())
    }
}

impl<T> fmt::Debug for SharedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedValue<{}>(#{})", std::any::type_name::<T>(), self.proxy.address.id)
    }
}

//! A queue in a program that uses tokio.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;

use super::Queue;
use crate::link::error::LinkError;
use crate::link::watched::Watched;

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// As [`send`](Queue::send), for tasks of a tokio runtime: what waits for room is the task, not its thread.
    ///
    /// The item is encoded when this is first polled. If the future is dropped, it is there whole or not at all. For a
    /// time-out wrap the call in `tokio::time::timeout`. Where there is room at once, this costs what `send` costs;
    /// a wait costs four system calls more, which let the runtime know of the queue and forget it again.
    ///
    /// # Errors
    ///
    /// As for [`send`](Queue::send); [`LinkError::Io`] where it has to wait outside of a runtime, or without a
    /// descriptor left for that.
    ///
    /// # Panics
    ///
    /// Where it has to wait in a runtime that was built without `enable_io`.
    pub async fn send_async(&self, item: &T) -> Result<(), LinkError> {
        let parcel = self.pack(item)?;
        if !self.offer(&parcel)? {
            let room = Watched::new(self.pair.sending.get()?, Interest::WRITABLE)?;
            loop {
                let mut ready = room.wait().await?;
                if self.offer(&parcel)? {
                    break;
                }
                ready.clear_ready();
            }
        }
        self.pair.outgoing.put_back(parcel.into_buffer());
        Ok(())
    }

    /// As [`recv`](Queue::recv), for tasks of a tokio runtime: what waits for an item is the task, not its thread.
    ///
    /// If the future is dropped, no item is lost. For a time-out wrap the call in `tokio::time::timeout`. Where an
    /// item is there, this costs what `recv` costs; a wait costs four system calls more, which let the runtime know
    /// of the queue and forget it again.
    ///
    /// ```
    /// use common_ipc::link::Queue;
    ///
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// let queue = Queue::new()?;
    /// let sum = runtime.block_on(async {
    ///     let feed = async {
    ///         for number in 1..=1_000 {
    ///             queue.send_async(&number).await?; // waits for room, again and again
    ///         }
    ///         Ok(())
    ///     };
    ///     let add = async {
    ///         let mut sum = 0;
    ///         for _ in 0..1_000 {
    ///             sum += queue.recv_async().await?;
    ///         }
    ///         Ok::<u32, common_ipc::link::LinkError>(sum)
    ///     };
    ///     tokio::try_join!(feed, add).map(|((), sum)| sum)
    /// })?;
    /// assert_eq!(sum, 500_500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`recv`](Queue::recv); [`LinkError::Io`] where it has to wait outside of a runtime, or without a
    /// descriptor left for that.
    ///
    /// # Panics
    ///
    /// Where it has to wait in a runtime that was built without `enable_io`.
    pub async fn recv_async(&self) -> Result<T, LinkError> {
        if let Some(item) = self.try_recv()? {
            return Ok(item);
        }
        let items = Watched::new(self.pair.receiving.get()?, Interest::READABLE)?;
        loop {
            let mut ready = items.wait().await?;
            match self.try_recv()? {
                Some(item) => return Ok(item),
                // Another task or process was quicker.
                None => ready.clear_ready(),
            }
        }
    }
}

//! Calls: requests and their replies over one connection, from any number of threads at once.
//!
//! Each request has a number, and its reply has the same. There is no thread that hands replies out: of those
//! who wait one holds the *reader role*. It receives; what is another one's it hands over and wakes that
//! one; and when its own reply has come it passes the role on. So a lone caller has nothing in its way.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::link::connection::Connection;
use crate::link::error::LinkError;
use crate::link::poll::Deadline;
use crate::ownership::give::{Give, Giver, private};

/// A request or a reply on its way.
#[derive(Debug, Serialize, Deserialize)]
struct Numbered<T> {
    number: u64,
    value: T,
}

/// Makes both sides of calls.
///
/// ```
/// use common_ipc::link::calls;
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let (caller, server) = calls::<String, usize>()?;
/// let child = Launch::new(&LaunchOptions::new().give(&server)).start(move || {
///     server.serve(|text| text.len()).unwrap();
/// })?;
/// assert_eq!(caller.call("nine chars".to_owned())?, 10);
/// drop(caller); // ends the child's loop
/// child.output::<()>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As for [`Connection::pair`].
pub fn calls<Request, Reply>() -> io::Result<(Caller<Request, Reply>, Server<Request, Reply>)>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    let (connection, served) = Connection::pair()?;
    let state = State { last: 0, reading: false, calls: HashMap::new() };
    let shared = Shared { connection, state: Mutex::new(state) };
    Ok((Caller(Arc::new(shared)), Server { connection: served }))
}

/// The side that calls. Clones share it; any number of threads may call at once, and each gets its own reply.
///
/// It belongs to one process, as an end of a [`Connection`] does. Dropping the last clone ends the other side's
/// [`serve`](Server::serve).
pub struct Caller<Request, Reply>(Arc<Shared<Request, Reply>>);

struct Shared<Request, Reply> {
    connection: Connection<Numbered<Request>, Numbered<Option<Reply>>>,
    state: Mutex<State<Reply>>,
}

struct State<Reply> {
    /// The number of the last request.
    last: u64,
    /// Somebody holds the reader role.
    reading: bool,
    calls: HashMap<u64, Call<Reply>>,
}

/// A call whose reply hasn't been taken.
enum Call<Reply> {
    /// Its thread is sending, or receiving.
    Awake,
    /// Its thread sleeps, and is woken by this.
    Asleep(Arc<Condvar>),
    /// `None`: dropped without one.
    Replied(Option<Reply>),
}

impl<Request, Reply> Caller<Request, Reply>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    /// Sends a request and waits for its reply as long as it takes.
    ///
    /// # Errors
    ///
    /// [`LinkError::Unanswered`]; else as for [`Connection::send`] and [`Connection::recv`]. If sending failed, the other side hasn't seen the
    /// request; if receiving did, it may have.
    pub fn call(&self, request: Request) -> Result<Reply, LinkError> {
        self.call_until(request, Deadline::NEVER)
    }

    /// As [`call`](Caller::call), for up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`LinkError::TimedOut`] if there was no room for the request: it isn't carried out;
    /// [`LinkError::NoReply`]: it may be, or may have been, and its reply will be dropped. Else as for
    /// [`call`](Caller::call).
    pub fn call_timeout(&self, request: Request, timeout: Duration) -> Result<Reply, LinkError> {
        self.call_until(request, Deadline::after(timeout))
    }

    fn call_until(&self, value: Request, deadline: Deadline) -> Result<Reply, LinkError> {
        let shared = &*self.0;
        let mut state = shared.lock()?;
        state.last += 1;
        let number = state.last;
        // Before the request is on its way: whoever receives must know the reply.
        state.calls.insert(number, Call::Awake);
        drop(state);
        let sent = shared.connection.send_until(&Numbered { number, value }, deadline);
        let result = sent.and_then(|()| shared.wait_for(number, deadline));
        if result.is_err() {
            let mut state = shared.state.lock();
            state.calls.remove(&number);
            // It may have been the one that was woken to take the role.
            state.offer_the_role();
        }
        result
    }
}

impl<Request, Reply> Shared<Request, Reply>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    fn lock(&self) -> Result<MutexGuard<'_, State<Reply>>, LinkError> {
        // In another process the lock may never come free: nobody there unlocks it.
        self.connection.check_home()?;
        Ok(self.state.lock())
    }

    fn wait_for(&self, number: u64, deadline: Deadline) -> Result<Reply, LinkError> {
        let mut state = self.state.lock();
        let mut bed = None;
        loop {
            if let Some(Call::Replied(reply)) = state.calls.insert(number, Call::Awake) {
                state.calls.remove(&number);
                return reply.ok_or(LinkError::Unanswered);
            }
            if !state.reading {
                state.reading = true;
                drop(state);
                let result = self.read_until(number, deadline);
                self.pass_the_role_on();
                return result;
            }
            if deadline.has_passed() {
                return Err(LinkError::NoReply);
            }
            let bed = bed.get_or_insert_with(|| Arc::new(Condvar::new()));
            state.calls.insert(number, Call::Asleep(Arc::clone(bed)));
            deadline.sleep_on(bed, &mut state);
        }
    }

    /// Holding the reader role: receives until the reply with this number is there.
    fn read_until(&self, number: u64, deadline: Deadline) -> Result<Reply, LinkError> {
        loop {
            let Some(reply) = self.connection.recv_until(deadline)? else {
                return Err(LinkError::NoReply);
            };
            let mut state = self.state.lock();
            if reply.number == number {
                state.calls.remove(&number);
                return reply.value.ok_or(LinkError::Unanswered);
            }
            // One that nobody waits for any more is dropped.
            let Some(call) = state.calls.get_mut(&reply.number) else { continue };
            if let Call::Asleep(bed) = std::mem::replace(call, Call::Replied(reply.value)) {
                bed.notify_one();
            }
        }
    }

    fn pass_the_role_on(&self) {
        let mut state = self.state.lock();
        state.reading = false;
        state.offer_the_role();
    }
}

impl<Reply> State<Reply> {
    /// Wakes one who sleeps, if nobody holds the reader role.
    fn offer_the_role(&self) {
        let asleep = self.calls.values().find_map(|call| match call {
            Call::Asleep(bed) => Some(bed),
            _ => None,
        });
        if let (false, Some(bed)) = (self.reading, asleep) {
            bed.notify_one();
        }
    }
}

/// The side that is called. Clones share it: each request goes to one of them.
///
/// It belongs to one process, as an end of a [`Connection`] does. Dropping the last clone, or the death of its
/// process, ends all calls with [`LinkError::Closed`].
pub struct Server<Request, Reply> {
    connection: Connection<Numbered<Option<Reply>>, Numbered<Request>>,
}

/// A request that waits for its reply. If it is dropped without one, by a panic for instance, its caller has
/// [`LinkError::Unanswered`].
#[must_use = "its caller waits for a reply"]
pub struct Responder<Request, Reply>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    server: Server<Request, Reply>,
    number: u64,
    is_answered: bool,
}

impl<Request, Reply> Drop for Responder<Request, Reply>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    fn drop(&mut self) {
        if !self.is_answered {
            // Without room for it in this time, or anybody to read it: a time-out is the caller's.
            let unanswered = Numbered { number: self.number, value: None };
            let _ = self.server.connection.send_until(&unanswered, Deadline::after(PATIENCE));
        }
    }
}

/// A request that was received, and what replies to it.
pub type Received<Request, Reply> = (Request, Responder<Request, Reply>);

/// How long a dropped request waits for room to say so.
const PATIENCE: Duration = Duration::from_secs(1);

impl<Request, Reply> Server<Request, Reply>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    /// Receives a request, waiting for it as long as it takes. Replies may be sent in any order.
    ///
    /// # Errors
    ///
    /// As for [`Connection::recv`].
    pub fn recv(&self) -> Result<Received<Request, Reply>, LinkError> {
        let request = self.connection.recv()?;
        Ok(self.with_responder(request))
    }

    /// Receives a request, waiting for up to `timeout`. `Ok(None)`: none came.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Server::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<Received<Request, Reply>>, LinkError> {
        Ok(self.connection.recv_timeout(timeout)?.map(|request| self.with_responder(request)))
    }

    /// Receives a request if one is there.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Server::recv).
    pub fn try_recv(&self) -> Result<Option<Received<Request, Reply>>, LinkError> {
        self.recv_timeout(Duration::ZERO)
    }

    fn with_responder(&self, request: Numbered<Request>) -> Received<Request, Reply> {
        (request.value, Responder { server: self.clone(), number: request.number, is_answered: false })
    }

    /// Answers requests, one after the other, until the other side is closed.
    ///
    /// # Errors
    ///
    /// As for [`Connection::send`] and [`Connection::recv`], but for [`LinkError::Closed`], which is its end.
    pub fn serve(&self, mut answer: impl FnMut(Request) -> Reply) -> Result<(), LinkError> {
        let mut serve_one = || {
            let (request, responder) = self.recv()?;
            responder.reply(answer(request))
        };
        loop {
            match serve_one() {
                Ok(()) => {}
                Err(LinkError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl<Request, Reply> Responder<Request, Reply>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    /// Sends the reply.
    ///
    /// # Errors
    ///
    /// As for [`Connection::send`].
    pub fn reply(mut self, reply: Reply) -> Result<(), LinkError> {
        self.server.connection.send(&Numbered { number: self.number, value: Some(reply) })?;
        self.is_answered = true;
        Ok(())
    }
}

impl<Request, Reply> Clone for Caller<Request, Reply> {
    fn clone(&self) -> Self {
        Caller(Arc::clone(&self.0))
    }
}

impl<Request, Reply> Clone for Server<Request, Reply> {
    fn clone(&self) -> Self {
        Server { connection: self.connection.clone() }
    }
}

/// As that of the [`Connection`] below it: readable when there are requests, or none will come any more.
impl<Request, Reply> AsFd for Server<Request, Reply> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl<Request, Reply> private::Sealed for Caller<Request, Reply> {}
impl<Request, Reply> private::Sealed for Server<Request, Reply> {}

impl<Request, Reply> Give for Caller<Request, Reply> {
    fn list(&self, giver: &mut Giver<'_>) {
        self.0.connection.list(giver);
    }
}

impl<Request, Reply> Give for Server<Request, Reply> {
    fn list(&self, giver: &mut Giver<'_>) {
        self.connection.list(giver);
    }
}

impl<Request, Reply> fmt::Debug for Caller<Request, Reply> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.0.connection).finish()
    }
}

impl<Request, Reply> fmt::Debug for Server<Request, Reply> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.connection).finish()
    }
}

impl<Request, Reply> fmt::Debug for Responder<Request, Reply>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_in_any_order_find_their_callers() {
        let (caller, server) = calls::<u32, u32>().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut held = Vec::new();
                while let Ok((request, responder)) = server.recv() {
                    held.push((request, responder));
                    if held.len() == 4 {
                        // The last one first.
                        while let Some((request, responder)) = held.pop() {
                            responder.reply(request + 1000).unwrap();
                        }
                    }
                }
            });
            let callers: Vec<_> = (0..4)
                .map(|thread| {
                    let caller = caller.clone();
                    scope.spawn(move || {
                        for number in 0..2000 {
                            assert_eq!(caller.call(thread + number).unwrap(), thread + number + 1000);
                        }
                    })
                })
                .collect();
            callers.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(caller.0.state.lock().calls.is_empty());
            drop(caller);
        });
    }

    #[test]
    fn a_late_reply_is_dropped_and_nobody_is_left_asleep() {
        let (caller, server) = calls::<u64, u64>().unwrap();
        std::thread::scope(|scope| {
            let server = scope.spawn(move || {
                server.serve(|pause| {
                    std::thread::sleep(Duration::from_micros(pause));
                    pause
                })
            });
            let callers: Vec<_> = (0..6u64)
                .map(|thread| {
                    let caller = caller.clone();
                    scope.spawn(move || {
                        let mut late = 0;
                        for round in 0..100 {
                            let pause = (thread * 31 + round * 17) % 300;
                            let timeout = Duration::from_micros((round * 7) % 900);
                            match caller.call_timeout(pause, timeout) {
                                Ok(reply) => assert_eq!(reply, pause),
                                Err(LinkError::TimedOut | LinkError::NoReply) => late += 1,
                                Err(error) => panic!("{error}"),
                            }
                            if round % 10 == 0 {
                                assert_eq!(caller.call(pause).unwrap(), pause);
                            }
                        }
                        late
                    })
                })
                .collect();
            let late: u32 = callers.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert!(late > 10, "{late}");
            drop(caller);
            server.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_request_that_is_dropped_is_told() {
        let (caller, server) = calls::<u8, u8>().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| drop(server.recv().unwrap()));
            assert!(matches!(caller.call(1), Err(LinkError::Unanswered)));
            let panics = scope.spawn(|| server.serve(|_| panic!("on purpose")));
            assert!(matches!(caller.call(2), Err(LinkError::Unanswered)));
            assert!(panics.join().is_err());
            let unanswered = caller.call_timeout(3, Duration::from_millis(2));
            assert!(matches!(unanswered, Err(LinkError::NoReply)));
        });
    }

    #[test]
    fn the_end_of_the_server_ends_all_calls() {
        let (caller, server) = calls::<u8, u8>().unwrap();
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4)
                .map(|n| {
                    let caller = &caller;
                    scope.spawn(move || caller.call(n))
                })
                .collect();
            // Taken by nobody.
            std::thread::sleep(Duration::from_millis(5));
            drop(server);
            for thread in callers {
                assert!(matches!(thread.join().unwrap(), Err(LinkError::Closed)));
            }
        });
        assert!(matches!(caller.call(1), Err(LinkError::Closed)));
    }
}

//! One call, in the object's process: its arguments, its object, and how that carries it out.

use common_ipc::RemoteError;
use common_ipc::link::OpenRequest;
use serde::de::DeserializeOwned;

use crate::crew::Turn;
use crate::crosses::Crosses;
use crate::desk::Desk;
use crate::lent::Lent;
use crate::method;
use crate::outlet::Opening;
use crate::reply::{Answer, Failure};

/// A call in the child, and the object that it is for.
#[derive(Debug)]
pub struct Call<'a, T> {
    pub(crate) request: OpenRequest<'a>,
    pub(crate) answer: &'a mut Answer,
    pub(crate) object: Object<'a, T>,
}

/// Where the object is, and for whom.
#[derive(Debug)]
pub(crate) enum Object<'a, T> {
    /// One thread has it; there is a desk if one caller can occupy it.
    Own { object: &'a mut Option<T>, desk: Option<&'a Desk<'a>> },
    /// Several threads do.
    Shared(Turn<'a, T>),
}

/// A call was carried out. What comes next.
#[derive(Debug)]
pub struct Served(Next);

#[derive(Debug)]
enum Next {
    Call,
    End,
}

impl Served {
    const GO_ON: Served = Served(Next::Call);
    const END: Served = Served(Next::End);

    /// Whether there is nothing more to be called.
    pub(crate) fn is_last(&self) -> bool {
        matches!(self.0, Next::End)
    }
}

impl<'a, T> Call<'a, T> {
    /// Of an object that many clients share: nobody can have it to himself for more than a call.
    pub(crate) fn new(request: OpenRequest<'a>, answer: &'a mut Answer, object: &'a mut Option<T>) -> Self {
        Call { request, answer, object: Object::Own { object, desk: None } }
    }

    /// Which interface: the main block, or a trait's place in its list.
    #[must_use]
    pub fn interface(&self) -> u16 {
        method::interface_of(self.request.what())
    }

    /// Which method of the interface.
    #[must_use]
    pub fn method(&self) -> u16 {
        method::method_of(self.request.what())
    }

    /// Makes the object.
    pub fn construct<W>(self, make: impl FnOnce(W) -> Result<T, RemoteError>) -> Served
    where
        W: DeserializeOwned,
    {
        let Call { request, answer, object } = self;
        let Object::Own { object, .. } = object else { return unknown(request) };
        if object.is_some() {
            // It is made once; in a manager anybody can ask for it.
            return unknown(request);
        }
        let Some(arguments) = read(request, answer) else { return Served::END };
        match make(arguments) {
            Ok(made) => {
                *object = Some(made);
                answer.result(&());
                Served::GO_ON
            }
            Err(error) => {
                answer.failure(Failure::Constructor(error));
                Served::END
            }
        }
    }

    /// Calls a method that changes the object.
    pub fn answer<W, R>(self, run: impl FnOnce(&mut T, W) -> R) -> Served
    where
        W: DeserializeOwned,
        R: Crosses,
    {
        let Call { request, answer, object } = self;
        object.alone(|object| {
            let Some(arguments) = read(request, answer) else { return };
            match object {
                Some(object) => answer.result(&run(object, arguments)),
                // There is one, unless the other side sends what it never does.
                None => answer.failure(Failure::Unknown),
            }
        });
        Served::GO_ON
    }

    /// Calls a method that leaves the object as it is.
    pub fn answer_shared<W, R>(self, run: impl FnOnce(&T, W) -> R) -> Served
    where
        W: DeserializeOwned,
        R: Crosses,
    {
        let Call { request, answer, object } = self;
        object.shared(|object| {
            let Some(arguments) = read(request, answer) else { return };
            match object {
                Some(object) => answer.result(&run(object, arguments)),
                None => answer.failure(Failure::Unknown),
            }
        });
        Served::GO_ON
    }

    /// Calls a function that takes no object.
    pub fn answer_static<W, R>(self, run: impl FnOnce(W) -> R) -> Served
    where
        W: DeserializeOwned,
        R: Crosses,
    {
        let Call { request, answer, object } = self;
        object.aside(|| {
            if let Some(arguments) = read(request, answer) {
                answer.result(&run(arguments));
            }
        });
        Served::GO_ON
    }

    /// Calls a method that is lent closures.
    pub fn answer_with<W, R>(
        self,
        method: &'static str,
        run: impl FnOnce(&mut T, W, &Lent<'_>) -> R,
    ) -> Served
    where
        W: DeserializeOwned,
        R: Crosses,
    {
        self.occupied::<W>(|object, number, arguments, desk, answer| match object {
            Some(object) => {
                let result = run(object, arguments, &Lent::new(desk, answer, number, method));
                answer.result(&result);
            }
            None => answer.failure(Failure::Unknown),
        })
    }

    /// Calls a function that takes no object, and is lent closures.
    pub fn answer_static_with<W, R>(self, method: &'static str, run: impl FnOnce(W, &Lent<'_>) -> R) -> Served
    where
        W: DeserializeOwned,
        R: Crosses,
    {
        self.occupied::<W>(|_, number, arguments, desk, answer| {
            let result = run(arguments, &Lent::new(desk, answer, number, method));
            answer.result(&result);
        })
    }

    /// Calls a method that returns an iterator.
    pub fn open<W>(self, method: &'static str, run: impl FnOnce(&mut T, W, Opening<'_>)) -> Served
    where
        W: DeserializeOwned,
    {
        self.occupied::<W>(|object, number, arguments, desk, answer| match object {
            Some(object) => run(object, arguments, Opening::new(desk, answer, number, method)),
            None => answer.failure(Failure::Unknown),
        })
    }

    /// Calls a function that takes no object, and returns an iterator.
    pub fn open_static<W>(self, method: &'static str, run: impl FnOnce(W, Opening<'_>)) -> Served
    where
        W: DeserializeOwned,
    {
        self.occupied::<W>(|_, number, arguments, desk, answer| {
            run(arguments, Opening::new(desk, answer, number, method));
        })
    }

    /// The call has a number, by which it is known in messages to come.
    fn occupied<W>(self, run: impl FnOnce(&mut Option<T>, u64, W, &Desk<'_>, &mut Answer)) -> Served
    where
        W: DeserializeOwned,
    {
        let Call { request, answer, object } = self;
        // The macro refuses such methods of what several threads have.
        let Object::Own { object, desk: Some(desk) } = object else { return unknown(request) };
        if let Some((number, arguments)) = read::<(u64, W)>(request, answer) {
            run(object, number, arguments, desk, answer);
        }
        Served::GO_ON
    }

    /// Reads a field of the object.
    pub fn answer_field<R: Crosses>(self, get: impl FnOnce(&T) -> &R) -> Served {
        let Call { request, answer, object } = self;
        *answer = Answer::of(request.responder());
        object.shared(|object| match object {
            Some(object) => answer.result(get(object)),
            None => answer.failure(Failure::Unknown),
        });
        Served::GO_ON
    }

    /// Calls a method that takes the object itself, after which there is nothing more to be called.
    pub fn finish<W, R>(self, run: impl FnOnce(T, W) -> R) -> Served
    where
        W: DeserializeOwned,
        R: Crosses,
    {
        let Call { request, answer, object } = self;
        object.taken(|object| {
            let Some(arguments) = read(request, answer) else { return Served::GO_ON };
            match object.take() {
                Some(object) => answer.result(&run(object, arguments)),
                None => answer.failure(Failure::Unknown),
            }
            Served::END
        })
    }

    /// There is no such method.
    #[must_use]
    pub fn unknown(self) -> Served {
        unknown(self.request)
    }
}

fn unknown(request: OpenRequest<'_>) -> Served {
    Answer::of(request.responder()).failure(Failure::Unknown);
    Served::GO_ON
}

impl<T> Object<'_, T> {
    /// For a call that nobody else's may be beside.
    fn alone<R>(self, run: impl FnOnce(&mut Option<T>) -> R) -> R {
        match self {
            Object::Own { object, .. } => run(object),
            Object::Shared(turn) => run(&mut turn.alone()),
        }
    }

    /// For the last one.
    fn taken(self, run: impl FnOnce(&mut Option<T>) -> Served) -> Served {
        match self {
            Object::Own { object, .. } => run(object),
            Object::Shared(turn) => turn.last(run),
        }
    }

    /// For one that others of its kind may be beside.
    fn shared<R>(self, run: impl FnOnce(&Option<T>) -> R) -> R {
        match self {
            Object::Own { object, .. } => run(object),
            Object::Shared(turn) => run(&turn.shared()),
        }
    }

    /// For one that doesn't need it.
    fn aside<R>(self, run: impl FnOnce() -> R) -> R {
        // Who is next may begin.
        drop(self);
        run()
    }
}

/// The arguments. If they can't be read the caller is told.
fn read<W: DeserializeOwned>(request: OpenRequest<'_>, answer: &mut Answer) -> Option<W> {
    let (arguments, responder) = request.decode();
    *answer = Answer::of(responder);
    match arguments {
        Ok(arguments) => Some(arguments),
        Err(error) => {
            let (type_name, message) = (error.type_name.to_owned(), error.message);
            answer.failure(Failure::Arguments { type_name, message });
            None
        }
    }
}

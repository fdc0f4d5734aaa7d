//! The thread that drives the core: it hears of ends and commands, and does what the core says.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use common_ipc::process::{self, Child, ChildError, ExitStatus, LibraryThread, StartError};
use crossbeam_channel::{Receiver, Sender};
use log::Level;

use super::core::{Action, Command, Id, Input, Reply, Token};
use super::event::Ended;
use super::shared::{Answer, Message, START, Shared};
use super::spec::Verdict;
use crate::starter::Starter;

/// So much is taken in before time is looked at.
const BATCH: usize = 256;

pub(super) struct Runtime {
    shared: Arc<Shared>,
    inbox: Receiver<Message>,
    /// The children's, in their order.
    starters: Vec<(Starter, Verdict)>,
    children: Alive,
    answers: HashMap<Token, Answer>,
    /// What has happened, and the core doesn't know yet.
    inputs: VecDeque<Input>,
    ended: Option<Ended>,
}

impl Runtime {
    pub(super) fn new(
        shared: Arc<Shared>,
        inbox: Receiver<Message>,
        starters: Vec<(Starter, Verdict)>,
    ) -> Runtime {
        Runtime {
            shared,
            inbox,
            starters,
            children: Alive(HashMap::new()),
            answers: HashMap::new(),
            inputs: VecDeque::new(),
            ended: None,
        }
    }

    pub(super) fn run(mut self, thread: &mut LibraryThread, started: Sender<Reply>) {
        self.shared.supervise_here();
        // Should it panic, nobody waits for ever for its end.
        let _end = EndsAnyway(Arc::clone(&self.shared));
        self.answers.insert(START, Box::new(move |reply| drop(started.send(reply))));
        let actions = self.shared.core.lock().begin(START);
        self.perform(thread, actions);
        loop {
            // Ends first: what they make needless isn't done.
            self.work_off(thread);
            let due = self.shared.core.lock().wake_at();
            if due.is_some_and(|at| at <= self.shared.now()) {
                self.inputs.push_back(Input::Tick);
                self.work_off(thread);
            }
            if self.ended.is_some() {
                break;
            }
            self.hear(thread);
        }
        // With the starters go the templates, before anybody hears of the end.
        let Runtime { shared, starters, children, ended, .. } = self;
        thread.call(|| drop((starters, children)));
        if let Some(ended) = ended {
            shared.end(ended);
        }
    }

    /// Sleeps until something has happened or time is due, and takes in what there is.
    fn hear(&mut self, thread: &mut LibraryThread) {
        let due = self.shared.core.lock().wake_at().and_then(|at| self.shared.begin.checked_add(at));
        let inbox = &self.inbox;
        let message = thread.sleep(|| match due {
            Some(due) => inbox.recv_deadline(due).ok(),
            None => inbox.recv().ok(),
        });
        if let Some(message) = message {
            self.take_in(message);
        }
        for _ in 1..BATCH {
            let Ok(message) = self.inbox.try_recv() else { return };
            self.take_in(message);
        }
    }

    fn take_in(&mut self, message: Message) {
        let input = match message {
            Message::Exited { id, status } => {
                if process::is_exiting() {
                    self.inputs.push_back(Input::Exiting);
                }
                Input::Exited { id, status }
            }
            Message::Ask { command, token, answer } => {
                self.answers.insert(token, answer);
                Input::Command(command)
            }
            Message::Stop => Input::Command(Command::StopAll),
        };
        self.inputs.push_back(input);
    }

    fn work_off(&mut self, thread: &mut LibraryThread) {
        while let Some(input) = self.inputs.pop_front() {
            if let Input::Exited { id, status } = &input {
                self.last_words(thread, *id, status);
            }
            let actions = self.shared.core.lock().handle(self.shared.now(), input);
            self.perform(thread, actions);
        }
    }

    /// The last look at a child that has ended: it may have been ready, and have ended, since the one before.
    fn last_words(&mut self, thread: &mut LibraryThread, id: Id, status: &ExitStatus) {
        let Some(child) = self.children.0.remove(&id) else { return };
        let ready = matches!(child.is_ready(), Ok(true)).then_some(Input::Readiness { id, ready: true });
        let verdict = self.starters[id.child].1;
        // How an error is put into words is other people's code.
        let returned = if status.success() { thread.call(|| verdict(&child)).err() } else { None };
        let returned = returned.map(|error| Input::Returned { id, error: error.into() });
        for input in [ready, returned].into_iter().flatten() {
            let actions = self.shared.core.lock().handle(self.shared.now(), input);
            self.perform(thread, actions);
        }
    }

    fn perform(&mut self, thread: &mut LibraryThread, actions: Vec<Action>) {
        if !actions.is_empty() {
            thread.call(|| actions.into_iter().for_each(|action| self.perform_one(action)));
        }
    }

    fn perform_one(&mut self, action: Action) {
        match action {
            Action::Start(id) => {
                let input = match self.start(id) {
                    Ok(pid) => Input::Started { id, pid },
                    Err(error) => Input::StartFailed { id, error: Arc::new(error) },
                };
                self.inputs.push_back(input);
            }
            Action::Terminate(id) => {
                if let Some(Err(error)) = self.children.0.get(&id).map(Child::begin_stop) {
                    say(Level::Warn, format_args!("could not ask {} to end: {error}", self.name(id)));
                }
            }
            Action::Kill(id) => {
                if let Some(Err(error)) = self.children.0.get(&id).map(Child::kill) {
                    // It may run as another user. Nobody is to wait for its end for ever.
                    say(
                        Level::Error,
                        format_args!("could not kill {}, and gives it up: {error}", self.name(id)),
                    );
                    self.inputs.push_back(Input::Exited { id, status: ExitStatus::Unknown });
                }
            }
            Action::CheckReady(id) => {
                let ready = self.look(id, Child::is_ready);
                self.inputs.push_back(Input::Readiness { id, ready });
            }
            Action::CheckProgress(id) => {
                let made = self.look(id, Child::progressed);
                self.inputs.push_back(Input::Progress { id, made });
            }
            Action::MeasureMemory(id) => {
                let resident =
                    self.children.0.get(&id).and_then(crate::measure::resident).unwrap_or_default();
                self.inputs.push_back(Input::Memory { id, resident });
            }
            Action::Emit(event) => {
                say(event.level(), format_args!("{event}"));
                self.shared.subscribers.lock().tell(&event);
            }
            Action::Answer(token, reply) => {
                if let Some(answer) = self.answers.remove(&token) {
                    answer(reply);
                }
            }
            Action::End(ended) => self.ended = Some(ended),
        }
    }

    fn start(&mut self, id: Id) -> Result<u32, StartError> {
        let child = self.starters[id.child].0.start()?;
        let inbox = self.shared.inbox.clone();
        let watched = child.on_collected(move |exit| {
            let _ = inbox.send(Message::Exited { id, status: exit.status.clone() });
        });
        if let Err(error) = watched {
            // Nobody would hear of its end.
            child.kill()?;
            return Err(error.into());
        }
        let pid = child.id();
        self.children.0.insert(id, child);
        Ok(pid)
    }

    fn look(&self, id: Id, look: impl FnOnce(&Child) -> Result<bool, ChildError>) -> bool {
        let seen = self.children.0.get(&id).map(look);
        if let Some(Err(error)) = &seen {
            say(Level::Warn, format_args!("could not look at {}: {error}", self.name(id)));
        }
        matches!(seen, Some(Ok(true)))
    }

    fn name(&self, id: Id) -> Arc<str> {
        Arc::clone(self.shared.core.lock().children()[id.child].name())
    }
}

/// A logger that panics has been reported by the panic hook; the children aren't to suffer for it.
fn say(level: Level, what: fmt::Arguments<'_>) {
    let logged = catch_unwind(AssertUnwindSafe(|| log::log!(target: "pkit", level, "{what}")));
    if let Err(payload) = logged {
        // Its drop could panic again.
        std::mem::forget(payload);
    }
}

/// Those that run. Should the thread panic, in a drop of other people's, say, nobody would look after them.
struct Alive(HashMap<Id, Child>);

impl Drop for Alive {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for child in self.0.values() {
                // One that can't be killed is its killer's business.
                let _ = child.kill();
            }
        }
    }
}

struct EndsAnyway(Arc<Shared>);

impl Drop for EndsAnyway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end(Ended::Failed { history: Vec::new(), children: Vec::new() });
        }
    }
}

//! The program around its loop.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use multiprocess::{Incoming, MainContext, MainLoop, Signal};
use serde_json::{Value, json};

use crate::ask::ask;
use crate::chaos::chaos;
use crate::managed::Managed;
use crate::tally::{Tally, count};
use crate::worker::Filled;

const WORKERS: usize = 5;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

pub enum Event {
    Worker(usize, Incoming<Filled>),
    /// A start that has failed is to be tried again.
    Start(usize),
    Client(io::Result<TcpStream>),
    Second,
    Beat,
    Hangup,
    TimeUp,
}

pub struct Manager {
    workers: Vec<Managed>,
    listener: Arc<TcpListener>,
    threads: Vec<JoinHandle<()>>,
    tally: Arc<Tally>,
    seconds: Option<u64>,
    has_chaos: bool,
}

impl Manager {
    pub fn new(seconds: Option<u64>, has_chaos: bool) -> Result<Manager, Error> {
        let tally = Arc::new(Tally::new());
        let workers = (0..WORKERS).map(|number| Managed::new(number, &tally)).collect::<Result<_, _>>()?;
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
        // A client that is gone again before it is accepted must not hold up the loop.
        listener.set_nonblocking(true)?;
        Ok(Manager { workers, listener, threads: Vec::new(), tally, seconds, has_chaos })
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn start(&mut self, main_loop: &mut MainLoop<Event>, number: usize) -> Result<(), Error> {
        let worker = &mut self.workers[number];
        if worker.start()? {
            main_loop.watch(&worker.process, move |incoming| Event::Worker(number, incoming))?;
            worker.fill()
        } else {
            main_loop.after(Duration::from_millis(200), move || Event::Start(number))?;
            Ok(())
        }
    }

    fn status(&self) -> Value {
        let workers: Vec<_> = self.workers.iter().map(Managed::status).collect();
        json!({ "workers": workers, "tally": self.tally.to_string() })
    }

    fn serve(&self, client: io::Result<TcpStream>) {
        let served = client.and_then(|mut client| {
            client.set_nonblocking(true)?;
            writeln!(client, "{}", self.status())
        });
        match served {
            Ok(()) => count(&self.tally.clients),
            Err(error) => log::info!("a client: {error}"),
        }
    }
}

impl MainContext for Manager {
    type Event = Event;
    type Error = Error;

    fn start_processes(&mut self, main_loop: &mut MainLoop<Event>) -> Result<(), Error> {
        for number in 0..WORKERS {
            self.start(main_loop, number)?;
        }
        println!("listening on {}", self.listener.local_addr()?);
        main_loop.watch_fd(Arc::clone(&self.listener), |listener| {
            Event::Client(listener.accept().map(|(client, _)| client))
        })?;
        main_loop.every(Duration::from_secs(1), || Event::Second)?;
        main_loop.every(Duration::from_millis(100), || Event::Beat)?;
        main_loop.signals(&[Signal::HUP], |_| Event::Hangup)?;
        if let Some(seconds) = self.seconds {
            main_loop.after(Duration::from_secs(seconds), || Event::TimeUp)?;
        }
        Ok(())
    }

    fn start_threads(&mut self, _: &mut MainLoop<Event>) -> Result<(), Error> {
        // Until the program ends.
        let tally = Arc::clone(&self.tally);
        thread::spawn(move || tally.watch());
        let fronts: Vec<_> = self.workers.iter().map(|worker| worker.process.front().clone()).collect();
        for front in fronts.clone() {
            let tally = Arc::clone(&self.tally);
            self.threads.push(thread::spawn(move || ask(&tally, &front)));
        }
        if self.has_chaos {
            let tally = Arc::clone(&self.tally);
            self.threads.push(thread::spawn(move || chaos(&tally, &fronts)));
        }
        Ok(())
    }

    fn handle(&mut self, main_loop: &mut MainLoop<Event>, event: Event) -> Result<(), Error> {
        match event {
            Event::Worker(number, Incoming::Event(filled)) => {
                self.workers[number].filled(filled);
                self.workers[number].fill()?;
            }
            Event::Worker(_, Incoming::Failed(failure)) => self.tally.wrong(failure.to_string()),
            Event::Worker(number, Incoming::Ended(ended)) => {
                self.workers[number].ended(&ended);
                self.start(main_loop, number)?;
            }
            Event::Start(number) => self.start(main_loop, number)?,
            Event::Client(client) => self.serve(client),
            Event::Second => {
                self.workers.iter_mut().try_for_each(Managed::second)?;
                println!("{}", self.status());
            }
            Event::Beat => {
                self.tally.beat();
                // Once something is wrong, there is no use in more of it.
                if !self.tally.is_right() {
                    main_loop.stop();
                }
            }
            Event::Hangup => println!("statistics: {}", self.tally),
            Event::TimeUp => main_loop.stop(),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        self.tally.close();
        for worker in &mut self.workers {
            self.tally.beat();
            worker.close()?;
        }
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| "a thread has panicked")?;
        }
        Ok(())
    }
}

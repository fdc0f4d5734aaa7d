//! A program of five workers, each with a shared array that it draws into: one loop for what they send, a timer and clients.
//!
//! `cargo run -p valkka-multiprocess --example manager`, and for a report `nc 127.0.0.1 PORT`, with the port that it prints.
//! Ctrl-C ends it. The exit code is 0 then, and 1 if something went wrong.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use valkka_multiprocess::memory::SharedArray;
use valkka_multiprocess::process::stop_all;
use valkka_multiprocess::{Backend, Context, Incoming, MainContext, MainLoop, MessageProcess, RemoteError};

const WORKERS: usize = 5;
const SHAPE: [usize; 3] = [120, 160, 3];

/// To a worker: draw the frame of this number.
#[derive(Serialize, Deserialize)]
struct Draw(u32);

/// From a worker: this frame is in the array.
#[derive(Serialize, Deserialize)]
struct Drawn(u32);

struct Worker {
    frame: SharedArray<u8>,
}

impl Backend for Worker {
    type Command = Draw;
    type Event = Drawn;

    fn handle(&mut self, cx: &mut Context<Self>, Draw(number): Draw) -> Result<(), RemoteError> {
        self.frame.write_from(0, &vec![number as u8; self.frame.len()])?;
        Ok(cx.send_out(&Drawn(number))?)
    }
}

/// What the manager has of a worker. The array is the worker's while it is busy, and the manager's otherwise.
struct Desk {
    process: MessageProcess<Worker>,
    frame: SharedArray<u8>,
    frames: u32,
    shade: u8,
    is_busy: bool,
}

enum Event {
    Worker(usize, Incoming<Drawn>),
    Client(io::Result<TcpStream>),
    Tick,
}

#[derive(Default)]
struct Manager {
    desks: Vec<Desk>,
    printer: Option<(Sender<String>, JoinHandle<()>)>,
}

type Error = Box<dyn std::error::Error + Send + Sync>;

impl MainContext for Manager {
    type Event = Event;
    type Error = Error;

    fn start_processes(&mut self, main_loop: &mut MainLoop<Event>) -> Result<(), Error> {
        for number in 0..WORKERS {
            let frame = SharedArray::with_shape(&SHAPE)?;
            let worker = Worker { frame: frame.clone() };
            // Ctrl-C goes to all processes of a terminal; that the workers end is the manager's business.
            let process = MessageProcess::new(format!("worker-{number}"), worker).ignore_sigint();
            process.start()?;
            main_loop.watch(&process, move |incoming| Event::Worker(number, incoming))?;
            self.desks.push(Desk { process, frame, frames: 0, shade: 0, is_busy: false });
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("clients: {}", listener.local_addr()?);
        main_loop
            .watch_fd(listener, |listener| Event::Client(listener.accept().map(|(client, _)| client)))?;
        main_loop.every(Duration::from_millis(20), || Event::Tick)?;
        Ok(())
    }

    /// After the processes: beside threads there are no forks.
    fn start_threads(&mut self, _: &mut MainLoop<Event>) -> Result<(), Error> {
        let (lines, to_print) = channel();
        let print = move || to_print.iter().for_each(|line: String| println!("{line}"));
        let thread = thread::Builder::new().name("printer".into()).spawn(print)?;
        self.printer = Some((lines, thread));
        Ok(())
    }

    fn handle(&mut self, main_loop: &mut MainLoop<Event>, event: Event) -> Result<(), Error> {
        match event {
            Event::Worker(number, Incoming::Event(Drawn(frame))) => {
                let desk = &mut self.desks[number];
                (desk.frames, desk.shade, desk.is_busy) =
                    (frame, desk.frame.get(desk.frame.len() - 1)?, false);
            }
            Event::Worker(number, Incoming::Failed(failure)) => {
                self.desks[number].is_busy = false;
                self.print(failure.to_string());
            }
            Event::Worker(_, Incoming::Ended(ended)) => {
                self.print(ended.to_string());
                if !self.desks.iter().any(|desk| desk.process.is_alive()) {
                    main_loop.stop();
                }
            }
            Event::Client(client) => {
                let told = client.and_then(|mut client| client.write_all(self.report().as_bytes()));
                if let Err(error) = told {
                    self.print(format!("a client has left: {error}"));
                }
            }
            Event::Tick => {
                for desk in self.desks.iter_mut().filter(|desk| !desk.is_busy) {
                    // One that has ended is told of by its last event.
                    desk.is_busy = desk.process.send(&Draw(desk.frames + 1)).is_ok();
                }
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        let children: Vec<_> = self.desks.iter().filter_map(|desk| desk.process.child().ok()).collect();
        // All at the same time, and whoever has not ended within a second is killed.
        stop_all(&children, Duration::from_secs(1))?;
        for desk in &self.desks {
            let ended = desk.process.wait_stop()?;
            self.print(format!("{}: {} frames, {}", desk.process.name(), desk.frames, ended.status));
        }
        if let Some((lines, thread)) = self.printer.take() {
            drop(lines);
            thread.join().map_err(|_| "the printer has panicked")?;
        }
        Ok(())
    }
}

impl Manager {
    fn print(&self, line: String) {
        if let Some((lines, _)) = &self.printer {
            let _ = lines.send(line);
        }
    }

    fn report(&self) -> String {
        let line = |desk: &Desk| {
            let state = if desk.is_busy { "draws" } else { "waits" };
            let (name, pid) = (desk.process.name(), desk.process.pid().unwrap_or(0));
            format!("{name} pid {pid} frames {} shade {} {state}\n", desk.frames, desk.shade)
        };
        self.desks.iter().map(line).collect()
    }
}

fn main() -> Result<(), Error> {
    Manager::default().run()
}

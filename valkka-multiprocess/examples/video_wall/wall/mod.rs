//! The main program: starts cameras and the web server, passes frames on, and replaces what has died or hangs.

mod desk;

use std::fmt::Display;
use std::io::{Write, stderr};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use valkka_multiprocess::process::stop_all;
use valkka_multiprocess::{AsyncBackMessageProcess, Child, Incoming, MainContext, MainLoop};

use crate::camera;
use crate::settings::Settings;
use crate::web::{self, Web};
use desk::Desk;

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What has died is started again after so long.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// So often the cameras are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// So long processes have at the end, before they are killed.
const GRACE: Duration = Duration::from_millis(400);

/// What happens.
pub(crate) enum Event {
    Camera(usize, Incoming<camera::Event>),
    Web(Incoming<web::Event>),
    StartCamera(usize),
    StartWeb,
    Look,
    Over,
}

pub(crate) struct Wall {
    settings: Settings,
    cameras: Vec<Desk>,
    /// From the start on.
    web: Option<AsyncBackMessageProcess<Web>>,
}

impl Wall {
    pub(crate) fn new(settings: Settings) -> Wall {
        Wall { settings, cameras: Vec::new(), web: None }
    }
}

impl MainContext for Wall {
    type Event = Event;
    type Error = Failed;

    fn start_processes(&mut self, main_loop: &mut MainLoop<Event>) -> Result<(), Failed> {
        let listen = &self.settings.listen;
        let listener = TcpListener::bind(listen).map_err(|error| format!("{listen}: {error}"))?;
        let address = listener.local_addr()?;
        for number in 0..self.settings.cameras {
            self.cameras.push(Desk::new(number, &self.settings.frames)?);
        }
        // From a template: it keeps the listener, and the arrays, for every start.
        let arrays = self.cameras.iter().map(Desk::buffers).collect();
        let web = Web::new(listener, self.settings.frames.clone(), arrays);
        let web = AsyncBackMessageProcess::new("web", web).ignore_sigint().launch_from_template()?;
        self.web = Some(web);

        self.start_web(main_loop)?;
        for number in 0..self.cameras.len() {
            self.start_camera(main_loop, number)?;
        }
        main_loop.every(LOOK, || Event::Look)?;
        if let Some(time) = self.settings.ends_after {
            main_loop.after(time, || Event::Over)?;
        }
        println!("listening on http://{address}/");
        Ok(())
    }

    fn handle(&mut self, main_loop: &mut MainLoop<Event>, event: Event) -> Result<(), Failed> {
        match event {
            Event::Camera(number, Incoming::Event(camera::Event::Full(buffer))) => self.full(number, buffer),
            // Its policy is to end after a failure: the end says why.
            Event::Camera(_, Incoming::Failed(_)) => {}
            Event::Camera(number, Incoming::Ended(ended)) => {
                let camera = &mut self.cameras[number];
                camera.died(&ended);
                note(&format_args!("{}: {}", camera.name(), camera.reason()));
                self.tell();
                main_loop.after(RESTART_DELAY, move || Event::StartCamera(number))?;
            }
            Event::StartCamera(number) => {
                if let Err(error) = self.start_camera(main_loop, number) {
                    self.cameras[number].cannot_start(&error.to_string());
                    main_loop.after(RESTART_DELAY, move || Event::StartCamera(number))?;
                }
            }
            Event::Web(Incoming::Event(web::Event::Released { camera, buffer })) => {
                if let Some(desk) = self.cameras.get_mut(camera) {
                    desk.released(buffer);
                }
            }
            Event::Web(Incoming::Failed(failure)) => note(&failure),
            Event::Web(Incoming::Ended(ended)) => {
                note(&ended);
                self.cameras.iter_mut().for_each(Desk::released_all);
                main_loop.after(RESTART_DELAY, || Event::StartWeb)?;
            }
            Event::StartWeb => self.start_web(main_loop)?,
            Event::Look => {
                let (now, hang_timeout) = (Instant::now(), self.settings.hang_timeout);
                self.cameras.iter_mut().for_each(|camera| camera.look(now, hang_timeout));
                if self.cameras.iter().any(|camera| camera.starves_for(now, hang_timeout)) {
                    self.kill_web();
                }
                self.tell();
            }
            Event::Over => main_loop.stop(),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failed> {
        let cameras = self.cameras.iter().filter_map(Desk::child);
        let web = self.web.iter().filter_map(|web| web.child().ok());
        let children: Vec<Child> = cameras.chain(web).collect();
        // All at the same time, by a signal: for a message there might be no room, if one hangs.
        Ok(stop_all(&children, GRACE)?)
    }
}

impl Wall {
    fn start_web(&mut self, main_loop: &mut MainLoop<Event>) -> Result<(), Failed> {
        if let Some(web) = &self.web {
            web.start()?;
            main_loop.watch(web, Event::Web)?;
        }
        self.tell();
        Ok(())
    }

    /// It hangs. Its end is an event, and gives back the buffers that it has.
    fn kill_web(&self) {
        if let Some(child) = self.web.iter().find_map(|web| web.child().ok()) {
            let _ = child.kill();
        }
    }

    fn start_camera(&mut self, main_loop: &mut MainLoop<Event>, number: usize) -> Result<(), Failed> {
        let process = self.cameras[number].start()?;
        main_loop.watch(process, move |incoming| Event::Camera(number, incoming))?;
        Ok(())
    }

    /// A camera has filled a buffer: the web server has it from now on, unless it can't take it.
    fn full(&mut self, camera: usize, buffer: usize) {
        let Some(web) = &self.web else { return };
        let desk = &mut self.cameras[camera];
        if !desk.full(buffer) {
            return;
        }
        // Never waiting for room: a web server that hangs doesn't hold up the wall.
        if web.try_send(&web::Command::Show { camera, buffer }).is_err() {
            desk.released(buffer);
        }
    }

    /// Tells the web server how the cameras are. It does no harm if it isn't there, or has no room for it now.
    fn tell(&self) {
        if let Some(web) = &self.web {
            let statuses = self.cameras.iter().map(Desk::status).collect();
            let _ = web.try_send(&web::Command::Tell(statuses));
        }
    }
}

/// Tells whoever reads standard error. That nobody does any more is no reason to end, as it is for `eprintln!`.
fn note(text: &dyn Display) {
    let _ = writeln!(stderr(), "{text}");
}

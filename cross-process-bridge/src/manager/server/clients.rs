//! Who is connected: let in, served, and missed when it is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common_ipc::link::{Arrival, LinkError, Listener, OpenRequest, OpenServer};
use common_ipc::process::PanicReport;

use crate::manager::server::objects::refuse;
use crate::manager::server::{House, send};
use crate::manager::wire::{ADDRESS, Address, Answer, BUILT_IN, Failure, Op};

/// One process needs one connection; what it had before a lost one may not be cleared away yet.
const PER_PROCESS: u32 = 4;
/// A buffer for requests that is larger isn't kept from one to the next.
const KEPT: usize = 1 << 20;
/// What a client's thread needs: it runs none of the program's code.
const STACK: usize = 256 << 10;
/// How long nobody is let in when there are no descriptors for more.
const PAUSE: Duration = Duration::from_millis(10);

/// How many there are.
#[derive(Debug, Default)]
pub(super) struct Clients {
    all: u64,
    of: HashMap<Option<u32>, u32>,
}

impl Clients {
    /// Whether one more of this process may come in.
    pub(super) fn enter(&mut self, pid: Option<u32>, max: u64) -> bool {
        let of = self.of.get(&pid).copied().unwrap_or_default();
        // Those of another namespace have no number, and count by the total alone.
        if self.all >= max || pid.is_some() && of >= PER_PROCESS {
            return false;
        }
        self.all += 1;
        self.of.insert(pid, of + 1);
        true
    }

    pub(super) fn leave(&mut self, pid: Option<u32>) {
        self.all = self.all.saturating_sub(1);
        if let Some(of) = self.of.get_mut(&pid) {
            *of = of.saturating_sub(1);
            if *of == 0 {
                self.of.remove(&pid);
            }
        }
    }
}

/// Lets in who comes, until the door is closed. Who isn't let in finds its connection closed.
pub(super) fn take_in(house: &Arc<House>, listener: &Listener) {
    loop {
        let Arrival { server, pid, .. } = match listener.accept() {
            Ok(arrival) => arrival,
            Err(LinkError::Io(_)) => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(_) => return,
        };
        if !house.clients.lock().enter(pid, house.settings.max_clients) {
            continue;
        }
        let there = Arc::clone(house);
        let builder = std::thread::Builder::new().name("client".to_owned()).stack_size(STACK);
        let spawned = builder.spawn(move || {
            let client = there.next_client.fetch_add(1, Ordering::Relaxed);
            // Whatever ends it, what it held is for others.
            if let Err(report) = PanicReport::catch(|| there.serve(client, server)) {
                log::error!("the manager's thread for a client {report}");
            }
            there.forget(client);
            there.clients.lock().leave(pid);
        });
        if spawned.is_err() {
            house.clients.lock().leave(pid);
        }
    }
}

impl House {
    /// Serves one client until its connection ends, or is of no more use.
    fn serve(&self, client: u64, server: OpenServer) {
        // Beside one of the longest there is room for many short ones.
        let most = (self.settings.max_message as usize).saturating_add(KEPT);
        // Without a descriptor for it the client isn't served.
        let Ok(server) = server.with_outbox(most) else { return };
        let mut buffer = Vec::new();
        while let Ok(request) = server.recv(&mut buffer) {
            if request.what() == BUILT_IN {
                self.carry_out(client, request);
            } else {
                self.pass_on(request);
            }
            if buffer.capacity() > KEPT {
                buffer = Vec::new();
            }
        }
        // Objects may keep requests of it for long: nobody is to wait for what won't come any more.
        server.hang_up();
    }

    fn forget(&self, client: u64) {
        let mut outgoing = Vec::new();
        self.store.lock().forget(client, &mut outgoing);
        send(outgoing);
    }

    fn carry_out(&self, client: u64, request: OpenRequest<'_>) {
        let (op, responder) = request.decode::<(Address, Op)>();
        let mut outgoing = Vec::new();
        match op {
            Ok((address, op)) => {
                self.store.lock().carry_out(client, responder, address, op, &mut outgoing);
            }
            Err(error) => {
                outgoing.push((responder, Answer::Failed(Failure::Undecodable(error.message))));
            }
        }
        send(outgoing);
    }

    /// To the thread of a bridge's object.
    fn pass_on(&self, request: OpenRequest<'_>) {
        let (size, descriptors) = (request.size(), request.descriptors());
        let Some((address, request)) = request.keep_after(ADDRESS) else { return };
        let found = Address::of_bytes(&address).ok_or(Failure::Deleted);
        let inbox = found.and_then(|address| self.store.lock().inbox(address));
        match inbox {
            Ok(inbox) => inbox.push(request, size, descriptors, self.settings.max_message as usize),
            Err(failure) => refuse(request, failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_50_one_process_takes_no_more_than_its_share() {
        let mut clients = Clients::default();
        let entered = (0..100).filter(|_| clients.enter(Some(7), 10)).count();
        assert_eq!(entered, PER_PROCESS as usize);
        assert!(clients.enter(Some(8), 10));
        clients.leave(Some(7));
        assert!(clients.enter(Some(7), 10) && !clients.enter(Some(7), 10));
        let strangers = (0..100).filter(|_| clients.enter(None, 10)).count();
        assert_eq!(strangers, 5);
        // Who isn't let in leaves nothing.
        let known = clients.of.len();
        assert!((100..200).all(|pid| !clients.enter(Some(pid), 10)));
        assert_eq!(clients.of.len(), known);
    }
}

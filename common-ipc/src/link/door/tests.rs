use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};

use crate::link::{
    ConnectError, Connection, Connector, LinkError, Listener, OpenServer, listener, open_calls,
};

const MAX: usize = 1 << 20;

fn pair() -> (Listener, Connector) {
    listener(MAX).unwrap()
}

fn accept(listener: &Listener) -> OpenServer {
    let arrival = listener.try_accept().unwrap().unwrap();
    assert_eq!(arrival.pid, Some(std::process::id()));
    arrival.server
}

fn answers(server: &OpenServer, connector: &Connector) -> bool {
    std::thread::scope(|scope| {
        let caller = connector.caller(None).unwrap();
        let called = scope.spawn(move || caller.call::<(), _, _>(1, &(), None, |reply| reply.decode::<u8>()));
        let mut buffer = Vec::new();
        server.recv(&mut buffer).unwrap().responder().reply::<u8, _>(0, &7_u8).unwrap();
        called.join().unwrap().unwrap().unwrap() == 7
    })
}

#[test]
fn a_process_connects_once_until_it_disconnects() {
    let (listener, connector) = pair();
    assert!(listener.try_accept().unwrap().is_none());
    let first = connector.caller(None).unwrap();
    assert!(connector.clone().caller(None).unwrap().is_same(&first));
    let server = accept(&listener);
    assert!(listener.try_accept().unwrap().is_none() && answers(&server, &connector));
    drop(server);
    let error = first.call::<(), _, _>(1, &(), None, |_| ()).unwrap_err();
    assert!(matches!(error.cause, LinkError::Closed));
    assert!(connector.caller(None).unwrap().is_same(&first));
    connector.disconnect(&first);
    connector.disconnect(&first);
    assert!(!connector.caller(None).unwrap().is_same(&first));
    assert!(answers(&accept(&listener), &connector));
}

#[test]
fn copies_that_come_in_messages_are_one() {
    let (listener, connector) = pair();
    let (here, there) = Connection::<Connector, ()>::pair().unwrap();
    let pass = |connector: &Connector| {
        here.send(connector).unwrap();
        there.recv().unwrap()
    };
    // Before and after the first use.
    let before = pass(&connector);
    assert!(before.is_same(&connector));
    let caller = connector.caller(None).unwrap();
    let after = pass(&connector);
    assert!(after.caller(None).unwrap().is_same(&caller));
    let (_, other) = pair();
    assert!(!pass(&other).is_same(&connector));
    assert!(answers(&accept(&listener), &after));
    // Ends that don't belong to a message, and what is something else.
    assert!(crate::link::codec::encode(&connector).is_err());
    let (caller, server) = open_calls(MAX).unwrap();
    caller.send::<Listener, _>(1, &listener, None).unwrap();
    let mut buffer = Vec::new();
    assert!(server.recv(&mut buffer).unwrap().decode::<Connector>().0.is_err());
}

#[test]
fn garbage_at_the_door_is_nobody() {
    let (listener, connector) = pair();
    let socket = connector.door.socket().unwrap();
    for length in [1, 40, 511, 512, 513, 5000] {
        send(socket.as_raw_fd(), &vec![7; length], MsgFlags::empty()).unwrap();
        assert!(listener.try_accept().unwrap().is_none());
    }
    let null = std::fs::File::open("/dev/null").unwrap();
    let fds = vec![std::os::fd::AsFd::as_fd(&null); 100];
    crate::sys::socket::send_with(socket, &[0; 30], &fds).unwrap();
    assert!(listener.try_accept().unwrap().is_none());
    connector.caller(None).unwrap();
    assert!(answers(&accept(&listener), &connector));
}

#[test]
fn fault_49_a_full_door_is_a_time_out() {
    let (listener, connector) = pair();
    let socket = connector.door.socket().unwrap();
    while send(socket.as_raw_fd(), &[7; 500], MsgFlags::MSG_DONTWAIT).is_ok() {}
    let late = connector.caller(Some(Duration::from_millis(20)));
    assert!(matches!(late, Err(ConnectError::TimedOut)), "{late:?}");
    std::thread::scope(|scope| {
        let connects = scope.spawn(|| connector.caller(None).unwrap());
        while listener.accept_timeout(Duration::from_millis(10)).unwrap().is_none() {}
        connects.join().unwrap();
    });
}

#[test]
fn a_door_that_somebody_has_closed_is_closed() {
    let (listener, connector) = pair();
    let (_, another) = pair();
    shutdown(connector.door.socket().unwrap().as_raw_fd(), Shutdown::Both).unwrap();
    assert!(matches!(connector.caller(None), Err(ConnectError::Closed)));
    assert!(matches!(listener.accept(), Err(LinkError::Closed)));
    // And one whose listener is gone.
    assert!(matches!(another.caller(None), Err(ConnectError::Closed)));
}

#[test]
fn whoever_was_not_let_in_is_told() {
    let (listener, connector) = pair();
    let caller = connector.caller(None).unwrap();
    drop(listener);
    let error = caller.call::<(), _, _>(1, &(), None, |_| ()).unwrap_err();
    assert!(matches!(error.cause, LinkError::Closed), "{error}");
    assert_eq!(error.execution(), crate::link::Execution::NotRun);
}

#[test]
fn a_listener_moves() {
    let (listener, connector) = pair();
    let (here, there) = Connection::<Listener, ()>::pair().unwrap();
    here.send(&listener).unwrap();
    assert!(matches!(listener.try_accept(), Err(LinkError::WrongProcess(_))));
    let listener = there.recv().unwrap();
    connector.caller(None).unwrap();
    assert!(answers(&accept(&listener), &connector));
}

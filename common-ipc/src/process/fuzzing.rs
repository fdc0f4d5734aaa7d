//! What the fuzz target of a child's reports runs: its parent, which hears whatever it says.

use std::os::fd::AsFd;

pub(crate) use crate::process::fork_server::fuzzing::requests;
use crate::process::report::{self, Heard};
use crate::sys;

/// The data as packets on a report link, each as long as its first byte says.
pub(crate) fn reports(data: &[u8]) {
    let Ok((parent, child)) = report::pair() else { return };
    let mut heard = Heard::default();
    let mut data = data;
    while let Some((length, rest)) = data.split_first() {
        // Up to more than a packet may have.
        let (packet, rest) = rest.split_at(rest.len().min(usize::from(*length) * 3));
        data = rest;
        // The kernel keeps so many until they are heard.
        while sys::socket::send(child.as_fd(), [packet, &[]], None).is_err() {
            if heard.last.is_some() {
                return;
            }
            let _ = heard.hear(parent.as_fd(), 1 << 16);
        }
    }
    drop(child);
    for _ in 0..1024 {
        if heard.hear(parent.as_fd(), 1 << 16).is_ok() {
            break;
        }
    }
    if let Some(Ok(last)) = &heard.last {
        let (parent, child) = match report::pair() {
            Ok(pair) => pair,
            Err(_) => return,
        };
        if report::send(child.as_fd(), last).is_ok() {
            let again = report::try_recv(parent.as_fd(), 1 << 16);
            assert!(matches!(&again, Ok(Some(again)) if again == last), "{again:?} isn't {last:?}");
        }
    }
}

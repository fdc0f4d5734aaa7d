//! The bare means of the kernel: pipes, eventfds, sockets, shared memory.

use std::os::fd::{AsFd, OwnedFd};

use integration_tests::raw::shared::{Bells, Mailboxes, Shared, Wait};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{pipe, read, write};

use crate::measure::Setting;

/// Longer than any answer takes that comes without a sleep.
const LOOKS: Wait = Wait::Spin { looks: 2000 };

/// Reads until the buffer is full.
pub(crate) fn read_whole(from: impl AsFd, buffer: &mut [u8]) {
    let mut done = 0;
    while done < buffer.len() {
        let count = read(&from, &mut buffer[done..]).unwrap();
        assert_ne!(count, 0, "the other process has ended");
        done += count;
    }
}

/// Writes all of it.
pub(crate) fn write_whole(to: impl AsFd, bytes: &[u8]) {
    let mut done = 0;
    while done < bytes.len() {
        done += write(&to, &bytes[done..]).unwrap();
    }
}

/// A message of 16 bytes there and back through two ends of file descriptors each.
fn echo(setting: Setting, here: (OwnedFd, OwnedFd), there: (OwnedFd, OwnedFd)) -> Echo {
    let other = setting.fork(|| {
        let mut message = [0; 16];
        loop {
            read_whole(&there.0, &mut message);
            write_whole(&there.1, &message);
        }
    });
    Echo { from: here.0, to: here.1, _other: other }
}

struct Echo {
    from: OwnedFd,
    to: OwnedFd,
    _other: crate::measure::Fork,
}

impl Echo {
    fn ask(&self) {
        let mut message = [1; 16];
        write_whole(&self.to, &message);
        read_whole(&self.from, &mut message);
    }
}

fn pipes(setting: Setting) -> Echo {
    let (there_out, there_in) = pipe().unwrap();
    let (back_out, back_in) = pipe().unwrap();
    echo(setting, (back_out, there_in), (there_out, back_in))
}

pub(crate) fn pipe_round_trip(setting: Setting) -> f64 {
    let echo = pipes(setting);
    setting.time_of(|| echo.ask())
}

pub(crate) fn socket_round_trip(setting: Setting) -> f64 {
    let (one, other) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty()).unwrap();
    let both = |end: OwnedFd| (end.try_clone().unwrap(), end);
    let echo = echo(setting, both(one), both(other));
    setting.time_of(|| echo.ask())
}

/// Eight bytes each way: an eventfd has no more.
pub(crate) fn eventfd_round_trip(setting: Setting) -> f64 {
    let new = || EventFd::from_flags(EfdFlags::empty()).unwrap();
    let (there, back) = (new(), new());
    let _other = setting.fork(|| {
        loop {
            back.write(there.read().unwrap()).unwrap();
        }
    });
    setting.time_of(|| {
        there.write(1).unwrap();
        back.read().unwrap();
    })
}

fn mailbox_round_trip(setting: Setting, wait: Wait) -> f64 {
    let boxes = Shared::<Mailboxes>::new();
    let _other = setting.fork(|| {
        let mut number = 0_u32;
        loop {
            number = number.wrapping_add(1);
            boxes.back.0.put(number, boxes.there.0.take(number, wait));
        }
    });
    let mut number = 0_u32;
    setting.time_of(|| {
        number = number.wrapping_add(1);
        boxes.there.0.put(number, [u64::from(number), 1]);
        assert_eq!(boxes.back.0.take(number, wait)[0], u64::from(number));
    })
}

pub(crate) fn shared_memory_spin(setting: Setting) -> f64 {
    mailbox_round_trip(setting, LOOKS)
}

pub(crate) fn shared_memory_futex(setting: Setting) -> f64 {
    mailbox_round_trip(setting, Wait::Futex)
}

fn bell_round_trip(setting: Setting, wait: Wait) -> f64 {
    let bells = Shared::<Bells>::new();
    let _other = setting.fork(|| {
        let mut number = 0_u32;
        loop {
            number = number.wrapping_add(1);
            bells.there.0.wait_for(number, wait);
            bells.back.0.ring(number);
        }
    });
    let mut number = 0_u32;
    setting.time_of(|| {
        number = number.wrapping_add(1);
        bells.there.0.ring(number);
        bells.back.0.wait_for(number, wait);
    })
}

pub(crate) fn futex(setting: Setting) -> f64 {
    bell_round_trip(setting, Wait::Futex)
}

pub(crate) fn futex_after_spin(setting: Setting) -> f64 {
    bell_round_trip(setting, LOOKS)
}

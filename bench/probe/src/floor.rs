//! What no supervision can go below: the same system calls under a filter that does nothing, and under one whose listener
//! has every bind and listen go on at once. What a space costs beyond that is wharf's own.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use clap::ValueEnum;
use libc::sock_filter;

use crate::sys;

/// What stands between the program and the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Floor {
    /// A filter of one instruction: allow
    Filter,
    /// A filter that sends bind and listen to a process that has them go on
    Answer,
}

/// The process that answers, for as long as this stands.
#[derive(Debug)]
pub(crate) struct Answering(Child);

impl Drop for Answering {
    fn drop(&mut self) {
        // Under the filter itself, it would wait for its own calls for ever.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Takes the filter on, for good.
pub(crate) fn take_on(floor: Floor) -> io::Result<Option<Answering>> {
    rustix::thread::set_no_new_privs(true)?;
    let allow = step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0);
    match floor {
        Floor::Filter => sys::install(&[allow], libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW)?,
        Floor::Answer => {
            let is = |call: libc::c_long, so| {
                step(
                    libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                    call as u32,
                    so,
                    0,
                )
            };
            let program = [
                // `struct seccomp_data`: the number of the call is first.
                step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
                is(libc::SYS_bind, 2),
                is(libc::SYS_listen, 1),
                allow,
                step(
                    libc::BPF_RET | libc::BPF_K,
                    libc::SECCOMP_RET_USER_NOTIF,
                    0,
                    0,
                ),
            ];
            let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
                | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
                | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
            sys::install(&program, flags)?
        }
    }
    .map(answered)
    .transpose()
}

/// Another process, so that both switches between address spaces are paid for as in a space.
fn answered(listener: OwnedFd) -> io::Result<Answering> {
    sys::wake_in_step(listener.as_fd())?;
    let mut answering = Command::new(std::env::current_exe()?);
    answering
        .arg("answer")
        .stdin(listener)
        .stdout(Stdio::null());
    answering.spawn().map(Answering)
}

/// Has every call that arrives at standard input go on, until it is ended.
pub(crate) fn answer() -> io::Result<()> {
    let listener = io::stdin();
    loop {
        let call = sys::receive(listener.as_fd())?;
        sys::let_pass(listener.as_fd(), call)?;
    }
}

fn step(code: u32, operand: u32, if_so: u8, if_not: u8) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).expect("codes of instructions have 16 bits"),
        jt: if_so,
        jf: if_not,
        k: operand,
    }
}

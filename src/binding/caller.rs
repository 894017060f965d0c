//! Who makes a call.

use std::fs;
use std::sync::Arc;

use rustix::process::Pid;

use crate::event::Actor;
use crate::list;

/// Who made a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The thread, as seen from the machine.
    pub(crate) thread: i32,
    /// The run whose filter sent the call.
    pub(crate) run: Arc<str>,
}

impl Caller {
    /// The program; `None` if it has ended.
    pub(crate) fn program(&self) -> Option<Actor> {
        let thread = Pid::from_raw(self.thread)?;
        let pid = list::process_of_thread(thread)?.as_raw_nonzero().get();
        let directory = fs::read_link(format!("/proc/{pid}/cwd"));
        // What the program calls itself, where its file may not be seen.
        let own_name = || fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        Some(Actor {
            pid,
            program: list::program_of_thread(thread)
                .or_else(|| Some(own_name()?.trim_end().to_owned()))?,
            directory: directory
                .ok()
                .map(|path| path.to_string_lossy().into_owned()),
        })
    }

    /// The run that its process is marked with, in the environment that it was started with.
    fn mark(&self) -> Option<Arc<str>> {
        let environment = fs::read(format!("/proc/{}/environ", self.thread)).ok()?;
        list::running::mark(&environment).map(Arc::from)
    }
}

/// What is to be seen of a program as long as it waits for the answer; it may end of a refusal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asker {
    /// The program.
    pub(crate) program: Option<Actor>,
    /// The run that it is marked with. That of its filter may be another: a `wharf run` inside of another has no filter of
    /// its own.
    pub(crate) mark: Option<Arc<str>>,
}

impl Asker {
    /// Looks at who made a call.
    pub(in crate::binding) fn of(caller: &Caller) -> Self {
        Self {
            program: caller.program(),
            mark: caller.mark(),
        }
    }
}

//! The caches over a part of a trace, for people: a view of the commands and transactions of a window.

use smmu::Outcome;
use smmu::command::Command;
use smmu::sanitize::Finding;

use super::line::{Access, Recorded};
use super::machine::Machine;
use crate::report::caches::{CacheView, Ending, Looks};

/// Commands and transactions of a trace that are shown; `CMD_SYNC` is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first, counted from 1.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What is shown of a trace.
pub(super) struct Shown {
    window: Window,
    title: String,
    /// Steps seen so far.
    steps: u64,
    view: Option<CacheView>,
    /// Whether the last step seen is the last of the view.
    is_current: bool,
}

impl Shown {
    pub(super) fn new(window: Window, title: String) -> Self {
        Self {
            window,
            title,
            steps: 0,
            view: None,
            is_current: false,
        }
    }

    /// Whether what comes next is shown; the view begins with what is cached before it.
    pub(super) fn begins(&mut self, machine: &Machine) -> bool {
        self.steps += 1;
        let Window { first, count } = self.window;
        self.is_current = (first..first.saturating_add(count)).contains(&self.steps);
        if self.is_current && self.view.is_none() {
            self.view = Some(CacheView::new(&self.title, &machine.smmu().cached()));
        }
        self.is_current
    }

    /// A command that was consumed.
    pub(super) fn command(&mut self, machine: &Machine, command: &Command) {
        if let Some(view) = self.view.as_mut().filter(|_| self.is_current) {
            view.step(&command.to_string(), &machine.smmu().cached());
        }
    }

    /// A transaction that was answered.
    pub(super) fn transaction(
        &mut self,
        machine: &Machine,
        recorded: &Recorded,
        outcome: &Outcome,
        looks: Looks,
    ) {
        let Some(view) = self.view.as_mut().filter(|_| self.is_current) else {
            return;
        };
        let access = match recorded.access {
            Access::Read => "read",
            Access::Write => "write",
        };
        let done = format!(
            "{access} of {:#x} by stream {}",
            recorded.iova, recorded.stream
        );
        let ended = crate::explain::headline(outcome);
        view.step(&done, &machine.smmu().cached())
            .looked(looks)
            .ended(&ended, Ending::of(outcome));
    }

    /// What the sanitizer says of the step just seen.
    pub(super) fn found(&mut self, finding: &Finding) {
        if let Some(view) = self.view.as_mut().filter(|_| self.is_current) {
            view.found(finding);
        }
    }

    pub(super) fn finish(self) -> Option<CacheView> {
        self.view
    }
}

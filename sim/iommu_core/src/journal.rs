//! What happened, in order, and the one value every layer reaches for plan, log and semantics.

use crate::{DeviceId, DomainId, Errno, FaultPlan, KernelBug, Semantics};

/// Whether a [`Journal`] keeps what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recording {
    /// Drop everything.
    #[default]
    Off,
    /// Keep everything.
    On,
}

/// One call across a layer boundary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `layer:function`, as in the fault plan.
    pub op: &'static str,
    /// Device it is about.
    pub device: Option<DeviceId>,
    /// Domain it is about.
    pub domain: Option<DomainId>,
    /// First address, or another number the operation is about; 0 if none.
    pub address: u64,
    /// Bytes; 0 if none.
    pub size: u64,
    /// What came back: a count of bytes or 0, or the error.
    pub result: Result<u64, Errno>,
}

/// A step that the fault plan made fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub step: &'static str,
    /// With what.
    pub errno: Errno,
    /// How many of the calls kept had returned by then.
    pub calls: usize,
}

/// Calls in the order they returned. History, not state: any two compare equal.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    recording: Recording,
    calls: Vec<Call>,
    failures: Vec<Failure>,
}

impl Journal {
    /// Starts or stops keeping calls; what was kept is dropped.
    pub fn set(&mut self, recording: Recording) {
        *self = Self {
            recording,
            calls: Vec::new(),
            failures: Vec::new(),
        };
    }

    /// Keeps a call, which is only built if the journal is on.
    #[inline]
    pub fn note(&mut self, call: impl FnOnce() -> Call) {
        if self.recording == Recording::On {
            self.calls.push(call());
        }
    }

    /// Whether calls are kept.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.recording == Recording::On
    }

    /// The calls kept.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Steps made to fail since the journal was set, in order.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    #[cold]
    fn note_failure(&mut self, step: &'static str, errno: Errno) {
        if self.recording == Recording::On {
            self.failures.push(Failure {
                step,
                errno,
                calls: self.calls.len(),
            });
        }
    }

    /// Takes the calls kept, leaving none.
    pub fn take(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }
}

impl PartialEq for Journal {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Journal {}

/// Held once, by whatever is at the bottom of a machine; every layer above reaches it through
/// [`IommuOps::control`](crate::IommuOps::control).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// How the software behaves where published versions differ.
    pub semantics: Semantics,
    /// What is made to fail.
    pub faults: FaultPlan,
    /// What happened.
    pub journal: Journal,
    /// The fatal assertion the kernel ran into first, if it did. What follows has no counterpart.
    pub bug: Option<KernelBug>,
}

impl Control {
    /// Nothing fails, nothing is recorded.
    pub fn new(semantics: Semantics) -> Self {
        Self {
            semantics,
            faults: FaultPlan::default(),
            journal: Journal::default(),
            bug: None,
        }
    }

    /// Called before the fallible step `name`, as [`FaultPlan::step`]; the journal keeps the failure.
    ///
    /// # Errors
    /// The planned error, if this step is the one to fail.
    #[inline]
    pub fn step(&mut self, name: &'static str, natural: Errno) -> Result<(), Errno> {
        let result = self.faults.step(name, natural);
        if let Err(errno) = result {
            self.journal.note_failure(name, errno);
        }
        result
    }

    /// The kernel stops here: keeps the first of these and returns what the call gives back.
    #[cold]
    pub fn stop(&mut self, bug: KernelBug) -> Errno {
        self.bug.get_or_insert(bug);
        KernelBug::ERRNO
    }
}

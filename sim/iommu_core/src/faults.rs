//! The fault plan: any fallible step of any layer can be made to fail, by name or by count.

use crate::Errno;

/// What a [`FaultPlan`] does at each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FaultMode {
    /// Nothing, and nothing is counted.
    #[default]
    Off,
    /// Remember the name of every step; none fails.
    Count,
    /// Fail the `n`-th step from now, counted from 0 over all names, once.
    Nth {
        /// Which step.
        n: u64,
        /// With what; the step's own natural error if `None`.
        errno: Option<Errno>,
    },
    /// Fail the `n`-th step from now of this name, counted from 0, once.
    NthOf {
        /// Name of the steps counted.
        name: &'static str,
        /// Which of them.
        n: u64,
        /// With what; the step's own natural error if `None`.
        errno: Option<Errno>,
    },
    /// Fail every step of this name.
    Every {
        /// Name of the steps.
        name: &'static str,
        /// With what; the step's own natural error if `None`.
        errno: Option<Errno>,
    },
}

/// Makes chosen steps fail.
///
/// A step is named `layer:function` (`"vfio:copy_from_user"`, `"driver:alloc_pages"`) and brings
/// the error it would naturally fail with. An explorer runs once under [`FaultMode::Count`] to
/// learn the steps, then once for each `n` under [`FaultMode::Nth`].
///
/// A plan is history, not state: any two compare equal.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    mode: FaultMode,
    steps: Vec<&'static str>,
    matched: u64,
    fired: Option<(&'static str, Errno)>,
}

impl FaultPlan {
    /// Starts afresh with `mode`: counts are zero, nothing has fired.
    pub fn set(&mut self, mode: FaultMode) {
        *self = Self {
            mode,
            ..Self::default()
        };
    }

    /// Called before the fallible step `name`, which would naturally fail with `natural`.
    ///
    /// # Errors
    /// The planned error, if this step is the one to fail.
    #[inline]
    pub fn step(&mut self, name: &'static str, natural: Errno) -> Result<(), Errno> {
        if self.mode == FaultMode::Off {
            return Ok(());
        }
        self.planned(name, natural)
    }

    #[cold]
    fn planned(&mut self, name: &'static str, natural: Errno) -> Result<(), Errno> {
        self.steps.push(name);
        let (hit, errno) = match self.mode {
            FaultMode::Off | FaultMode::Count => return Ok(()),
            FaultMode::Nth { n, errno } => (self.count() - 1 == n, errno),
            FaultMode::NthOf {
                name: wanted,
                n,
                errno,
            } => {
                let matches = name == wanted;
                self.matched += u64::from(matches);
                (matches && self.matched - 1 == n, errno)
            }
            FaultMode::Every {
                name: wanted,
                errno,
            } => (name == wanted, errno),
        };
        if !hit {
            return Ok(());
        }
        let errno = errno.unwrap_or(natural);
        self.fired = Some((name, errno));
        Err(errno)
    }

    /// Steps met since [`set`](Self::set).
    pub fn count(&self) -> u64 {
        self.steps.len() as u64
    }

    /// Names of the steps met since [`set`](Self::set), in order.
    pub fn steps(&self) -> &[&'static str] {
        &self.steps
    }

    /// The step that failed last, if one did.
    pub fn fired(&self) -> Option<&'static str> {
        self.fired.map(|(name, _)| name)
    }

    /// What that step failed with.
    pub fn fired_with(&self) -> Option<Errno> {
        self.fired.map(|(_, errno)| errno)
    }
}

impl PartialEq for FaultPlan {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for FaultPlan {}

#[cfg(test)]
mod tests {
    use super::{FaultMode, FaultPlan};
    use crate::Errno;

    fn run(plan: &mut FaultPlan) -> Vec<Result<(), Errno>> {
        ["a", "b", "a", "b"]
            .iter()
            .map(|name| plan.step(name, Errno::ENOMEM))
            .collect()
    }

    #[test]
    fn exactly_the_planned_step_fails() {
        let mut plan = FaultPlan::default();
        assert!(run(&mut plan).iter().all(Result::is_ok));
        assert_eq!(plan.count(), 0);
        plan.set(FaultMode::Count);
        assert!(run(&mut plan).iter().all(Result::is_ok));
        assert_eq!(plan.steps(), ["a", "b", "a", "b"]);
        for n in 0..4 {
            plan.set(FaultMode::Nth { n, errno: None });
            let failed: Vec<_> = run(&mut plan).iter().map(Result::is_err).collect();
            let expected: Vec<_> = (0..4).map(|k| k == n).collect();
            assert_eq!(failed, expected);
        }
        plan.set(FaultMode::NthOf {
            name: "b",
            n: 1,
            errno: Some(Errno::EIO),
        });
        assert_eq!(run(&mut plan), [Ok(()), Ok(()), Ok(()), Err(Errno::EIO)]);
        assert_eq!(plan.fired(), Some("b"));
        assert_eq!(plan.fired_with(), Some(Errno::EIO));
    }
}

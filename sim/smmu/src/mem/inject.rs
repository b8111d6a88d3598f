//! Abort injection: makes chosen accesses of any memory fail, by address, by number, by class.

use core::ops::RangeInclusive;

use super::{AccessClass, BusAbort, BusResult, PhysMem};
use crate::addr::Pa;

/// Which accesses to abort. Every field that is set must match; a rule with none set matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AbortRule {
    /// Only accesses whose word (8 bytes, 4 for a message, 64 for a whole structure) meets this
    /// byte range.
    pub range: Option<RangeInclusive<u64>>,
    /// Only accesses of this class.
    pub class: Option<AccessClass>,
    /// Only the access with this number, counted from 0 among those the other fields match.
    pub nth: Option<u64>,
}

impl AbortRule {
    /// Aborts every access to the word at `pa`.
    pub fn at(pa: Pa) -> Self {
        Self {
            range: Some(pa.get()..=pa.get()),
            ..Self::default()
        }
    }

    /// Aborts every access of `class`.
    pub fn class(class: AccessClass) -> Self {
        Self {
            class: Some(class),
            ..Self::default()
        }
    }

    /// Aborts access number `n`, counted from 0.
    pub fn nth(n: u64) -> Self {
        Self {
            nth: Some(n),
            ..Self::default()
        }
    }
}

/// A memory in front of `inner` that aborts what its rules name. A structure read of 64 bytes
/// counts as one access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbortInjector<M> {
    inner: M,
    /// Each rule with the number of accesses it has matched so far.
    rules: Vec<(AbortRule, u64)>,
    accesses: u64,
}

impl<M> AbortInjector<M> {
    /// Puts `rules` in front of `inner`.
    pub fn new(inner: M, rules: impl IntoIterator<Item = AbortRule>) -> Self {
        Self {
            inner,
            rules: rules.into_iter().map(|rule| (rule, 0)).collect(),
            accesses: 0,
        }
    }

    /// Accesses seen so far, aborted ones included.
    pub fn accesses(&self) -> u64 {
        self.accesses
    }

    /// The memory behind.
    pub fn into_inner(self) -> M {
        self.inner
    }

    fn admit(&mut self, pa: Pa, bytes: u64, class: AccessClass) -> BusResult<()> {
        self.accesses += 1;
        let first = pa.get() & !(bytes - 1);
        let last = first + (bytes - 1);
        let mut abort = false;
        for (rule, matched) in &mut self.rules {
            let in_range = rule
                .range
                .as_ref()
                .is_none_or(|r| *r.start() <= last && first <= *r.end());
            if in_range && rule.class.is_none_or(|c| c == class) {
                abort |= rule.nth.is_none_or(|n| n == *matched);
                *matched += 1;
            }
        }
        if abort { Err(BusAbort) } else { Ok(()) }
    }
}

impl<M: PhysMem> PhysMem for AbortInjector<M> {
    fn read64(&mut self, pa: Pa, class: AccessClass) -> BusResult<u64> {
        self.admit(pa, 8, class)?;
        self.inner.read64(pa, class)
    }

    fn write64(&mut self, pa: Pa, value: u64, class: AccessClass) -> BusResult<()> {
        self.admit(pa, 8, class)?;
        self.inner.write64(pa, value, class)
    }

    fn write32(&mut self, pa: Pa, value: u32, class: AccessClass) -> BusResult<()> {
        self.admit(pa, 4, class)?;
        self.inner.write32(pa, value, class)
    }

    fn compare_exchange64(
        &mut self,
        pa: Pa,
        current: u64,
        new: u64,
        class: AccessClass,
    ) -> BusResult<u64> {
        self.admit(pa, 8, class)?;
        self.inner.compare_exchange64(pa, current, new, class)
    }

    fn read_line(&mut self, pa: Pa, class: AccessClass) -> BusResult<[u64; 8]> {
        self.admit(pa, 64, class)?;
        self.inner.read_line(pa, class)
    }
}

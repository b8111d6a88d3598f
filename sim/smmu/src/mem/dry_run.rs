//! Memory whose updates succeed without being made: for asking what a translation would give.

use super::{AccessClass, BusResult, PhysMem};
use crate::addr::Pa;

/// Reads `inner`; writes and hardware updates are answered as if they took effect, and do not.
#[derive(Debug)]
pub struct DryRun<'a, M: ?Sized> {
    inner: &'a mut M,
}

impl<'a, M: PhysMem + ?Sized> DryRun<'a, M> {
    /// Puts itself in front of `inner`.
    pub fn new(inner: &'a mut M) -> Self {
        Self { inner }
    }
}

impl<M: PhysMem + ?Sized> PhysMem for DryRun<'_, M> {
    fn read64(&mut self, pa: Pa, class: AccessClass) -> BusResult<u64> {
        self.inner.read64(pa, class)
    }

    fn write64(&mut self, pa: Pa, _value: u64, class: AccessClass) -> BusResult<()> {
        self.inner.read64(pa, class).map(|_| ())
    }

    fn compare_exchange64(
        &mut self,
        pa: Pa,
        _current: u64,
        _new: u64,
        class: AccessClass,
    ) -> BusResult<u64> {
        self.inner.read64(pa, class)
    }

    fn read_line(&mut self, pa: Pa, class: AccessClass) -> BusResult<[u64; 8]> {
        self.inner.read_line(pa, class)
    }
}

//! Adapters to rust-vmm's `vm-memory`, both ways: [`GuestMemory`] lets the SMMU read its tables from
//! a VMM's guest memory, [`StreamIommu`] is one device's view of the SMMU as a
//! [`vm_memory::iommu::Iommu`], for [`vm_memory::IommuMemory`] and the devices built on it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicU64, atomic::Ordering};

use vm_memory::iommu::{Error, Iommu, Iotlb, IotlbIterator, IovaRange};
use vm_memory::{GuestAddress, GuestMemoryBackend, Permissions, VolatileMemory};

use crate::addr::{Iova, Pa};
use crate::ids::StreamId;
use crate::mem::{AccessClass, BusAbort, BusResult, PhysMem};
use crate::shared::{Port, SharedSmmu};
use crate::transaction::{AccessKind, Transaction};

/// Guest memory of a VMM, as the SMMU sees it: what no region backs aborts.
#[derive(Clone)]
pub struct GuestMemory<M> {
    backend: Arc<M>,
}

impl<M> fmt::Debug for GuestMemory<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestMemory").finish_non_exhaustive()
    }
}

impl<M: GuestMemoryBackend> GuestMemory<M> {
    /// The memory behind `backend`.
    pub fn new(backend: Arc<M>) -> Self {
        Self { backend }
    }

    /// Does `access` with the 64-bit word around `pa`.
    fn word<R>(&self, pa: Pa, access: impl FnOnce(&AtomicU64) -> R) -> BusResult<R> {
        let at = GuestAddress(pa.align_down(3).get());
        let slice = self.backend.get_slice(at, 8).map_err(|_| BusAbort)?;
        let word = slice.get_atomic_ref(0).map_err(|_| BusAbort)?;
        Ok(access(word))
    }
}

impl<M: GuestMemoryBackend> PhysMem for GuestMemory<M> {
    fn read64(&mut self, pa: Pa, _class: AccessClass) -> BusResult<u64> {
        self.word(pa, |word| u64::from_le(word.load(Ordering::Acquire)))
    }

    fn write64(&mut self, pa: Pa, value: u64, _class: AccessClass) -> BusResult<()> {
        self.word(pa, |word| word.store(value.to_le(), Ordering::Release))
    }

    fn compare_exchange64(
        &mut self,
        pa: Pa,
        current: u64,
        new: u64,
        _class: AccessClass,
    ) -> BusResult<u64> {
        let (current, new) = (current.to_le(), new.to_le());
        self.word(pa, |word| {
            let found = word.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire);
            u64::from_le(found.unwrap_or_else(|found| found))
        })
    }
}

/// The SMMU as one device sees it.
pub struct StreamIommu<M> {
    stream: StreamId,
    /// The device's port, and the memory its tables are in.
    port: Mutex<(Port, GuestMemory<M>)>,
}

impl<M> fmt::Debug for StreamIommu<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamIommu")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// Entries are at least as large.
const PAGE_BYTES: u64 = 4096;

impl<M: GuestMemoryBackend> StreamIommu<M> {
    /// The view of the device `stream`, whose SMMU finds its tables in `memory`.
    pub fn new(smmu: &Arc<SharedSmmu>, stream: StreamId, memory: GuestMemory<M>) -> Self {
        Self {
            stream,
            port: Mutex::new((smmu.port(), memory)),
        }
    }
}

impl<M: GuestMemoryBackend + Send + Sync> Iommu for StreamIommu<M> {
    type IotlbGuard<'a>
        = Arc<Iotlb>
    where
        Self: 'a;

    /// Translates page by page. The answer holds what the SMMU says now and nothing older: its own
    /// caches are the IOTLB, and they obey the driver's commands. Events of refused accesses go to
    /// the event queue.
    fn translate(
        &self,
        iova: GuestAddress,
        length: usize,
        access: Permissions,
    ) -> Result<IotlbIterator<Arc<Iotlb>>, Error> {
        let refused = |reason: String| Error::CannotResolve {
            iova_range: IovaRange { base: iova, length },
            reason,
        };
        if iova.0.checked_add(length as u64).is_none() {
            return Err(refused("the range wraps around".into()));
        }
        let kinds: &[AccessKind] = match access {
            Permissions::No => &[],
            Permissions::Read => &[AccessKind::Read],
            Permissions::Write => &[AccessKind::Write],
            Permissions::ReadWrite => &[AccessKind::Read, AccessKind::Write],
        };
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        let (port, memory) = &mut *port;
        let mut iotlb = Iotlb::new();
        let (first, end) = (iova.0 & !(PAGE_BYTES - 1), iova.0 + length as u64);
        for page in (first..end).step_by(PAGE_BYTES as usize) {
            let mut output = None;
            for &kind in kinds {
                let transaction = Transaction::new(self.stream, Iova::new(page), kind);
                let outcome = port.translate(memory, &transaction, &mut ());
                let pa = outcome.pa().ok_or_else(|| match outcome.fault() {
                    Some(fault) => refused(format!("{:?} at {page:#x}", fault.cause.event_id())),
                    None => refused(format!("{page:#x} is refused without a fault")),
                })?;
                output = Some(pa.get());
            }
            if let Some(output) = output {
                let (from, to) = (GuestAddress(page), GuestAddress(output));
                iotlb.set_mapping(from, to, PAGE_BYTES as usize, access)?;
            }
        }
        Iotlb::lookup(Arc::new(iotlb), iova, length, access)
            .map_err(|_| refused("no access was asked for".into()))
    }
}

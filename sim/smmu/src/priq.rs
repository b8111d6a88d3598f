//! The PRI queue: page requests of endpoints, and the answers the SMMU gives by itself
//! (IHI 0070 §3.5.4, §8).

use crate::addr::Iova;
use crate::command::PriResponseCode;
use crate::eventq::OutputQueue;
use crate::fault::{Cause, Fault};
use crate::fetch::Ppar;
use crate::ids::{StreamId, SubstreamId};
use crate::irq::{GlobalError, Source};
use crate::mem::{AccessClass, PhysMem};
use crate::perm::Request;
use crate::queue::Fill;
use crate::regfile::Slot;
use crate::smmu::Smmu;
use crate::spec::pri::{PriRecord, PriRecordDw0, PriRecordDw1};
use crate::spec::regs::PriqIrqCfg2;
use crate::transaction::Transaction;

const RECORD_LOG2: u32 = 4;

/// A PCIe page request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Whose.
    pub stream: StreamId,
    /// PASID.
    pub substream: Option<SubstreamId>,
    /// Page, aligned down to 4 KiB.
    pub address: u64,
    /// Page request group index, 9 bits.
    pub group: u16,
    /// Last of its group.
    pub last: bool,
    /// R.
    pub read: bool,
    /// W.
    pub write: bool,
    /// Execute; counts only with a PASID.
    pub execute: bool,
    /// Privileged; counts only with a PASID.
    pub privileged: bool,
}

/// An answer the SMMU gives an endpoint without asking software.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageResponse {
    /// PASID the response carries.
    pub substream: Option<SubstreamId>,
    /// Which group.
    pub group: u16,
    /// The answer.
    pub code: PriResponseCode,
}

impl PageRequest {
    /// A stop marker: the endpoint has stopped using a PASID (PCIe PRI §4).
    pub fn is_stop_marker(&self) -> bool {
        self.substream.is_some() && self.last && !self.read && !self.write
    }

    fn record(&self) -> PriRecord {
        let has_pasid = self.substream.is_some();
        PriRecord {
            dw0: PriRecordDw0::new()
                .with_streamid(self.stream.get())
                .with_substreamid(self.substream.map_or(0, SubstreamId::get) & 0xf_ffff)
                .with_priv(self.privileged && has_pasid)
                .with_x(self.execute && has_pasid)
                .with_r(self.read)
                .with_w(self.write)
                .with_last(self.last)
                .with_ssv(has_pasid),
            dw1: PriRecordDw1::new()
                .with_prgindex(self.group & 0x1ff)
                .with_address(self.address >> 12),
        }
    }

    fn failure(&self) -> Option<PageResponse> {
        (!self.is_stop_marker()).then_some(PageResponse {
            substream: None,
            group: self.group,
            code: PriResponseCode::Failure,
        })
    }
}

impl Smmu {
    fn pri_queue(&self) -> OutputQueue {
        OutputQueue::new(
            self.part.regs.get(Slot::PriqBase),
            self.part.config.priqs,
            (Slot::PriqProd, Slot::PriqCons),
            RECORD_LOG2,
            AccessClass::PriQueue,
        )
    }

    /// Takes a page request into the PRI queue, or answers it if that cannot be.
    pub fn page_request<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        request: &PageRequest,
    ) -> Option<PageResponse> {
        let cr0 = self.part.regs.cr0();
        let enabled = cr0.priqen() && cr0.smmuen();
        if !enabled || self.part.regs.active_errors().priq_abt_err() {
            return request.failure();
        }
        let queue = self.pri_queue();
        let fill = queue.fill(self);
        let interrupts_on_last = PriqIrqCfg2::from(self.part.regs.get32(Slot::PriqIrqCfg2)).lo();
        if queue.overflowed(self) || matches!(fill, Fill::Full | Fill::Inconsistent) {
            queue.overflow(self);
            if interrupts_on_last && request.last {
                self.interrupt(mem, Source::Priq);
            }
            return self.overflow_response(mem, request);
        }
        if queue.push(self, mem, &request.record().words()).is_err() {
            self.global_error(mem, GlobalError::PriqAbort);
            return request.failure();
        }
        if (interrupts_on_last && request.last) || (!interrupts_on_last && fill == Fill::Empty) {
            self.interrupt(mem, Source::Priq);
        }
        None
    }

    /// The last request of a group that overflowed is answered with success, so that the endpoint
    /// asks again; its PASID is in the answer if the part or the stream says so (IHI 0070 §8.2).
    fn overflow_response<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        request: &PageRequest,
    ) -> Option<PageResponse> {
        if !request.last || request.is_stop_marker() {
            return None;
        }
        let success = |substream| {
            Some(PageResponse {
                substream,
                group: request.group,
                code: PriResponseCode::Success,
            })
        };
        if request.substream.is_none() || self.part.config.pps {
            return success(request.substream);
        }
        match self.stream_of_request(mem, request) {
            Ok(Ppar::WithPasid) => success(request.substream),
            Ok(Ppar::WithoutPasid) => success(None),
            Err(cause) => {
                let cr2 = self.part.regs.cr2();
                if cr2.rec_cfg_ats() && (cause != Cause::BadStreamId || cr2.recinvsid()) {
                    let transaction = Self::transaction_of(request);
                    let version = self.part.config.version;
                    let fault = Fault::new(cause, &transaction, &Request::TABLE_READ, version);
                    self.record(mem, &fault.record());
                }
                request.failure()
            }
        }
    }

    fn transaction_of(request: &PageRequest) -> Transaction {
        let mut transaction = Transaction::read(request.stream, Iova::new(request.address));
        transaction.substream = request.substream;
        transaction
    }

    /// STE.PPAR; only the STE matters, not the CD.
    fn stream_of_request<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        request: &PageRequest,
    ) -> Result<Ppar, Cause> {
        let transaction = Self::transaction_of(request);
        match self
            .part
            .configure(&mut self.caches, mem, &transaction, &mut ())
        {
            Ok(entry) => entry.stream.map(|s| s.ppar).map_err(Cause::BadSte),
            Err(fault) => match fault.found {
                Some(found) => Ok(found.0.ppar),
                None => Err(fault.raised.cause),
            },
        }
    }
}

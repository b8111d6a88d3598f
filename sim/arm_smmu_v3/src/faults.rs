//! What becomes of event records and page requests (`arm_smmu_handle_evt`,
//! `arm_smmu_handle_ppr`): reported to whoever owns the device, or printed.

use iommu_core::ops::{DeviceFault, PageResponse};
use iommu_core::semantics::{EventReports, SeriesIo};
use iommu_core::{DeviceId, Errno};
use smmu::ids::{StreamId, SubstreamId};

use crate::command::{PriAnswer, ResumeAnswer};
use crate::event::Overflow;
use crate::gerror::{self, GlobalError};
use crate::platform::{Platform, SmmuId};
use crate::{Command, Driver};

/// An event the driver printed instead of reporting it, and other lines of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printed {
    /// An event record nobody took.
    Event {
        /// From which SMMU.
        smmu: SmmuId,
        /// The record.
        record: [u64; 4],
    },
    /// A page request; the driver serves none.
    PageRequest {
        /// From which SMMU.
        smmu: SmmuId,
        /// The record.
        record: [u64; 2],
    },
    /// Records were lost.
    Overflow {
        /// In which SMMU.
        smmu: SmmuId,
    },
}

/// Event numbers (IHI 0070 §7.3).
mod id {
    pub(super) const C_BAD_SUBSTREAMID: u8 = 0x08;
    pub(super) const F_CD_FETCH: u8 = 0x09;
    pub(super) const C_BAD_CD: u8 = 0x0a;
    pub(super) const F_WALK_EABT: u8 = 0x0b;
    pub(super) const F_TRANSLATION: u8 = 0x10;
    pub(super) const F_ADDR_SIZE: u8 = 0x11;
    pub(super) const F_ACCESS: u8 = 0x12;
    pub(super) const F_PERMISSION: u8 = 0x13;
}

/// `IOMMU_FAULT_REASON_*`.
mod reason {
    pub(super) const PASID_FETCH: u32 = 1;
    pub(super) const BAD_PASID_ENTRY: u32 = 2;
    pub(super) const PASID_INVALID: u32 = 3;
    pub(super) const WALK_EABT: u32 = 4;
    pub(super) const PTE_FETCH: u32 = 5;
    pub(super) const PERMISSION: u32 = 6;
    pub(super) const ACCESS: u32 = 7;
    pub(super) const OOR_ADDRESS: u32 = 8;
}

/// `IOMMU_FAULT_PERM_*`.
const PERM_READ: u32 = 1;
const PERM_WRITE: u32 = 1 << 1;
const PERM_EXEC: u32 = 1 << 2;
const PERM_PRIV: u32 = 1 << 3;

/// `IOMMU_FAULT_UNRECOV_*`.
const PASID_VALID: u32 = 1;
const ADDR_VALID: u32 = 1 << 1;
const FETCH_ADDR_VALID: u32 = 1 << 2;

/// `IOMMU_FAULT_PAGE_REQUEST_*`.
const PRQ_PASID_VALID: u32 = 1;
const PRQ_LAST: u32 = 1 << 1;

/// The common fields of an event record.
struct Event {
    id: u8,
    sid: StreamId,
    ssid: Option<SubstreamId>,
    stag: u16,
    stall: bool,
    perm: u32,
    stage2: bool,
    address: u64,
    fetch_address: u64,
}

impl Event {
    fn new(record: &[u64; 4]) -> Self {
        let [q0, q1, q2, q3] = *record;
        let bit = |n: u32| q1 >> n & 1 != 0;
        let mut perm = if bit(35) { PERM_READ } else { PERM_WRITE };
        if bit(34) {
            perm |= PERM_EXEC;
        }
        if bit(33) {
            perm |= PERM_PRIV;
        }
        Self {
            id: q0 as u8,
            sid: StreamId::new((q0 >> 32) as u32),
            ssid: (q0 >> 11 & 1 != 0).then(|| SubstreamId::new((q0 >> 12 & 0xf_ffff) as u32)),
            stag: q1 as u16,
            stall: bit(31),
            perm,
            stage2: bit(39),
            address: q2,
            fetch_address: q3 & 0x000f_ffff_ffff_fff8,
        }
    }

    fn pasid(&self) -> u32 {
        self.ssid.map_or(0, SubstreamId::get)
    }

    /// Reason and further flags; `None` for events that have none.
    fn reason(&self) -> Option<(u32, u32)> {
        Some(match self.id {
            id::C_BAD_SUBSTREAMID => (reason::PASID_INVALID, 0),
            id::F_CD_FETCH => (reason::PASID_FETCH, FETCH_ADDR_VALID),
            id::C_BAD_CD => (reason::BAD_PASID_ENTRY, 0),
            id::F_WALK_EABT => (reason::WALK_EABT, ADDR_VALID | FETCH_ADDR_VALID),
            id::F_TRANSLATION => (reason::PTE_FETCH, ADDR_VALID),
            id::F_ADDR_SIZE => (reason::OOR_ADDRESS, ADDR_VALID),
            id::F_ACCESS => (reason::ACCESS, ADDR_VALID),
            id::F_PERMISSION => (reason::PERMISSION, ADDR_VALID),
            _ => return None,
        })
    }

    fn is_translation_fault(&self) -> bool {
        (id::F_TRANSLATION..=id::F_PERMISSION).contains(&self.id)
    }

    fn unrecoverable(&self, (reason, flags): (u32, u32)) -> DeviceFault {
        DeviceFault::Unrecoverable {
            reason,
            flags: flags | if self.ssid.is_some() { PASID_VALID } else { 0 },
            pasid: self.pasid(),
            perm: self.perm,
            addr: self.address,
            fetch_addr: self.fetch_address,
        }
    }

    fn page_request(&self) -> DeviceFault {
        DeviceFault::PageRequest {
            flags: PRQ_LAST
                | if self.ssid.is_some() {
                    PRQ_PASID_VALID
                } else {
                    0
                },
            pasid: self.pasid(),
            grpid: self.stag.into(),
            perm: self.perm,
            addr: self.address,
        }
    }
}

/// Lines of the log that are kept.
const PRINTED_MAX: usize = 4096;

impl<P: Platform> Driver<P> {
    /// Runs the interrupt threads of every SMMU: errors, events, page requests.
    pub(crate) fn run_threads<F>(&mut self, mut report: F)
    where
        F: FnMut(DeviceId, &DeviceFault) -> Result<(), Errno>,
    {
        for smmu in 0..self.instances.len() {
            self.gerror_thread(SmmuId(smmu as u32));
            self.event_thread(SmmuId(smmu as u32), &mut report);
            self.page_request_thread(SmmuId(smmu as u32));
        }
    }

    /// Handles global errors of an SMMU.
    pub fn gerror_thread(&mut self, smmu: SmmuId) -> GlobalError {
        let instance = &mut self.instances[smmu.index()];
        gerror::handle(&mut self.platform, smmu, &mut instance.cmdq)
    }

    fn print(&mut self, line: Printed) {
        tracing::debug!(target: "arm_smmu_v3::events", ?line, "printed");
        if self.printed.len() < PRINTED_MAX {
            self.printed.push(line);
        }
    }

    fn event_thread<F>(&mut self, smmu: SmmuId, report: &mut F)
    where
        F: FnMut(DeviceId, &DeviceFault) -> Result<(), Errno>,
    {
        let mut records = Vec::new();
        let instance = &mut self.instances[smmu.index()];
        let overflow = instance
            .evtq
            .drain(&mut self.platform, smmu, |_, record| records.push(record));
        for record in records {
            if self.handle_event(smmu, &record, report).is_err() {
                self.print(Printed::Event { smmu, record });
            }
        }
        if overflow == Overflow::Yes {
            self.print(Printed::Overflow { smmu });
        }
    }

    /// Reports an event.
    ///
    /// # Errors
    /// Nobody takes it.
    fn handle_event<F>(
        &mut self,
        smmu: SmmuId,
        record: &[u64; 4],
        report: &mut F,
    ) -> Result<(), Errno>
    where
        F: FnMut(DeviceId, &DeviceFault) -> Result<(), Errno>,
    {
        let event = Event::new(record);
        let device = self.instances[smmu.index()]
            .streams
            .get(&event.sid)
            .copied();
        let device = device.ok_or(Errno::EINVAL)?;
        let early = matches!(
            self.platform.control().semantics.io(),
            Some(SeriesIo::V12 | SeriesIo::V13)
        );
        let series = self.platform.control().semantics.series.is_some();
        let reports = self.rules().event_reports;
        if early {
            let why = event.reason().ok_or(Errno::EOPNOTSUPP)?;
            // From walks on, a fault of stage 2 is the host's own affair.
            if event.id >= id::F_WALK_EABT && event.stage2 {
                return Err(Errno::EFAULT);
            }
            return report(device, &event.unrecoverable(why));
        }
        if !series && reports == EventReports::Print || !event.is_translation_fault() {
            return Err(Errno::EOPNOTSUPP);
        }
        if event.stage2 {
            return Err(Errno::EFAULT);
        }
        if event.stall {
            let reported = report(device, &event.page_request());
            if reported.is_err() {
                self.resume(smmu, &event, ResumeAnswer::Abort);
            } else {
                self.stalled.push((device, event.stag));
            }
            return reported;
        }
        if !series && reports == EventReports::StalledFaults {
            return Err(Errno::EOPNOTSUPP);
        }
        let why = event.reason().ok_or(Errno::EOPNOTSUPP)?;
        report(device, &event.unrecoverable(why))
    }

    fn resume(&mut self, smmu: SmmuId, event: &Event, answer: ResumeAnswer) {
        let command = Command::Resume {
            sid: event.sid,
            stag: event.stag,
            answer,
        };
        let instance = &mut self.instances[smmu.index()];
        let _logged =
            instance
                .cmdq
                .issue(&mut self.platform, smmu, &[command], crate::cmdq::Wait::No);
    }

    /// Answers a stalled transaction (`arm_smmu_page_response`).
    pub(crate) fn answer(
        &mut self,
        device: DeviceId,
        response: &PageResponse,
    ) -> Result<(), Errno> {
        let stag = response.grpid as u16;
        let waiting = self
            .stalled
            .iter()
            .position(|stall| *stall == (device, stag))
            .ok_or(Errno::EINVAL)?;
        let answer = match response.code {
            0 => ResumeAnswer::Retry,
            1 | 2 => ResumeAnswer::Abort,
            _ => return Err(Errno::EINVAL),
        };
        self.stalled.remove(waiting);
        let master = self.masters.get(&device).ok_or(Errno::EINVAL)?;
        let (smmu, sid) = (master.smmu(), master.firmware.streams[0]);
        let command = Command::Resume { sid, stag, answer };
        let instance = &mut self.instances[smmu.index()];
        let _logged =
            instance
                .cmdq
                .issue(&mut self.platform, smmu, &[command], crate::cmdq::Wait::No);
        Ok(())
    }

    /// Page requests are printed, and the last of a group is denied.
    fn page_request_thread(&mut self, smmu: SmmuId) {
        let mut records = Vec::new();
        let instance = &mut self.instances[smmu.index()];
        let Some(priq) = &mut instance.priq else {
            return;
        };
        let overflow = priq.drain(&mut self.platform, smmu, |_, record| records.push(record));
        for [q0, q1, ..] in records {
            self.print(Printed::PageRequest {
                smmu,
                record: [q0, q1],
            });
            let last = q0 >> 62 & 1 != 0;
            if !last {
                continue;
            }
            let command = Command::PriResp {
                sid: StreamId::new(q0 as u32),
                ssid: (q0 >> 63 != 0).then(|| SubstreamId::new((q0 >> 32 & 0xf_ffff) as u32)),
                group: (q1 & 0x1ff) as u16,
                answer: PriAnswer::Deny,
            };
            let instance = &mut self.instances[smmu.index()];
            let _logged =
                instance
                    .cmdq
                    .issue(&mut self.platform, smmu, &[command], crate::cmdq::Wait::No);
        }
        if overflow == Overflow::Yes {
            self.print(Printed::Overflow { smmu });
        }
    }
}

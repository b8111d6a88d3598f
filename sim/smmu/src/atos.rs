//! Address translation operations: software asks by register what a translation would give
//! (IHI 0070 §9).

use crate::addr::Iova;
use crate::attr::{Attributes, Overrides, Shareability};
use crate::fault::{Cause, Class, Raised, Stage};
use crate::fetch::{Stage1Use, StreamAction, StreamContext};
use crate::ids::{StreamId, SubstreamId, Vmid};
use crate::mem::{DryRun, PhysMem};
use crate::regfile::Slot;
use crate::smmu::Smmu;
use crate::spec::event::EventId;
use crate::spec::regs::{GatosAddr, GatosPar, GatosParFault, GatosSid};
use crate::transaction::{AccessKind, InstructionOrData, Privilege, Transaction};
use crate::translate::Programmed;

/// FAULTCODEs that are no event numbers (IHI 0070 §9.1.4).
const INV_REQ: u8 = 0xff;
const INV_STAGE: u8 = 0xfe;
const INTERNAL_ERR: u8 = 0xfd;

/// `GATOS_ADDR.TYPE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stages {
    One,
    Two,
    Both,
}

/// `GATOS_PAR.REASON`: where a fault arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Stage1OrOther = 0,
    Cd = 1,
    TranslationTable = 2,
    Input = 3,
}

/// A failed operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failed {
    code: u8,
    reason: Reason,
    address: u64,
}

impl Failed {
    fn code(code: u8) -> Self {
        Self {
            code,
            reason: Reason::Stage1OrOther,
            address: 0,
        }
    }

    fn event(id: EventId) -> Self {
        Self::code(id.0)
    }

    fn par(self) -> u64 {
        GatosParFault::new()
            .with_fault(true)
            .with_reason(self.reason as u8)
            .with_faultcode(self.code)
            .with_faddr(self.address >> 12 & ((1 << 44) - 1))
            .into()
    }
}

/// One of the two register interfaces.
struct Interface {
    ctrl: Slot,
    sid: Slot,
    addr: Slot,
    par: Slot,
    /// The VM that a VATOS interface serves.
    vmid: Option<Vmid>,
}

impl Smmu {
    /// Carries out the translation operations that software has started.
    pub fn run_atos<M: PhysMem + ?Sized>(&mut self, mem: &mut M) {
        for interface in self.atos_interfaces() {
            if self.part.regs.get(interface.ctrl) & 1 == 0 {
                continue;
            }
            let par = match self.part.atos(mem, &interface) {
                Ok(par) => par,
                Err(failed) => failed.par(),
            };
            self.part.regs.set(interface.par, par);
            self.part.regs.set(interface.ctrl, 0);
        }
    }

    /// SMMUEN was cleared: what runs ends without a result.
    pub(crate) fn stop_atos(&mut self) {
        for interface in self.atos_interfaces() {
            if self.part.regs.get(interface.ctrl) & 1 != 0 {
                let par = Failed::code(INTERNAL_ERR).par();
                self.part.regs.set(interface.par, par);
                self.part.regs.set(interface.ctrl, 0);
            }
        }
    }

    fn atos_interfaces(&self) -> [Interface; 2] {
        let gatos = Interface {
            ctrl: Slot::GatosCtrl,
            sid: Slot::GatosSid,
            addr: Slot::GatosAddr,
            par: Slot::GatosPar,
            vmid: None,
        };
        let vatos = Interface {
            ctrl: Slot::VatosCtrl,
            sid: Slot::VatosSid,
            addr: Slot::VatosAddr,
            par: Slot::VatosPar,
            vmid: Some(Vmid::new(self.part.regs.get(Slot::VatosSel) as u16)),
        };
        [gatos, vatos]
    }
}

impl Programmed {
    /// One operation, in the order of IHI 0070 §9.1.4. It looks into no cache and fills none, so
    /// that it says what memory says (deviations.md D42).
    fn atos<M: PhysMem + ?Sized>(&self, mem: &mut M, interface: &Interface) -> Result<u64, Failed> {
        let sid = GatosSid::from(self.regs.get(interface.sid));
        let addr = GatosAddr::from(self.regs.get(interface.addr));
        let stages = match (addr.r#type(), interface.vmid) {
            (1, _) => Stages::One,
            (2, None) => Stages::Two,
            (3, None) => Stages::Both,
            _ => return Err(Failed::code(INV_REQ)),
        };
        let substream = (self.config.ssidsize != 0 && sid.ssid_valid())
            .then(|| SubstreamId::new(sid.substreamid()));
        let mut transaction = Transaction::new(
            StreamId::new(sid.streamid()),
            Iova::new(addr.addr() << 12),
            if addr.rnw() {
                AccessKind::Read
            } else {
                AccessKind::Write
            },
        );
        transaction.substream = substream;
        if addr.pnu() {
            transaction.pnu = Privilege::Privileged;
        }
        if addr.ind() && addr.rnw() {
            transaction.ind = InstructionOrData::Instruction;
        }
        // HTTUI: what hardware would update counts as updated, and nothing is written.
        if addr.httui() {
            self.operate(&mut DryRun::new(mem), &transaction, stages, interface)
        } else {
            self.operate(mem, &transaction, stages, interface)
        }
    }

    fn operate<M: PhysMem + ?Sized>(
        &self,
        mem: &mut M,
        transaction: &Transaction,
        stages: Stages,
        interface: &Interface,
    ) -> Result<u64, Failed> {
        let observer = &mut ();
        let mut walker = Self::cold_walker(mem, observer);
        let stream = walker
            .stream(&self.config, &self.regs, transaction.stream)
            .map_err(|cause| Failed::event(cause.event_id()))?;
        let wrong_vm = |vmid| stream.s2.is_some_and(|s2| s2.vmid != vmid) || stream.vmid != vmid;
        if interface.vmid.is_some_and(wrong_vm) {
            return Err(Failed::event(EventId::C_BAD_STE));
        }
        let has_stage1 = stream.cds.is_some();
        let missing = match stages {
            Stages::One => !has_stage1,
            Stages::Two => stream.s2.is_none(),
            Stages::Both => !has_stage1 || stream.s2.is_none(),
        };
        if stream.action == StreamAction::Abort || missing {
            return Err(Failed::code(INV_STAGE));
        }
        // The STE's attribute overrides do not apply.
        let stream = StreamContext {
            overrides: Overrides::default(),
            privcfg: None,
            instcfg: None,
            ..stream
        };
        let request = stream.request(transaction);
        let fail = |raised: Raised| failed(raised.cause, stages);
        let stage1 = match stages {
            Stages::Two => Stage1Use::Off,
            Stages::One | Stages::Both => walker
                .stage1_use(&self.config, &stream, transaction.substream)
                .map_err(fail)?,
        };
        let incoming = transaction.attributes;
        match (stages, &stage1) {
            (Stages::One, Stage1Use::Translates(s1)) => {
                let leaf = walker
                    .stage1(s1, stream.s2.as_ref(), transaction.address, request)
                    .map_err(fail)?;
                let attributes = leaf.attributes.with_input_hints(incoming);
                return Ok(par(leaf.output, leaf.span_log2, attributes));
            }
            // Stage 1 bypassed translates nothing; the answer is for a page.
            (Stages::One, _) => {
                let input = transaction.address.get();
                if input >> self.config.ias() != 0 {
                    return Err(Failed::event(EventId::F_ADDR_SIZE));
                }
                return Ok(par(input, 12, incoming));
            }
            (Stages::Two | Stages::Both, _) => {}
        }
        let through = self
            .walk(&mut walker, &stream, &stage1, transaction, request)
            .map_err(fail)?;
        let walked = through.walked;
        Ok(par(walked.pa.get(), walked.span_log2, walked.attributes))
    }
}

/// What a fault reports.
fn failed(cause: Cause, stages: Stages) -> Failed {
    let in_stage2 = cause
        .site()
        .filter(|site| site.stage == Stage::Stage2)
        .copied();
    let Some(site) = in_stage2 else {
        return Failed::event(cause.event_id());
    };
    match (stages, site.class) {
        // Asking for stage 1 alone tells nothing of stage 2.
        (Stages::One, Class::Cd) => Failed::event(EventId::F_CD_FETCH),
        (Stages::One, _) => Failed::event(EventId::F_WALK_EABT),
        (Stages::Two | Stages::Both, class) => Failed {
            code: cause.event_id().0,
            reason: match class {
                Class::Cd => Reason::Cd,
                Class::Tt => Reason::TranslationTable,
                Class::In => Reason::Input,
            },
            address: if stages == Stages::Both && cause.is_translation_related() {
                site.ipa.get()
            } else {
                0
            },
        },
    }
}

/// `GATOS_PAR` of a success: a block or page larger than 4 KiB has its size in the lowest set bit
/// of the address.
fn par(output: u64, span_log2: u8, attributes: Attributes) -> u64 {
    let base = output >> span_log2 << span_log2;
    let (size, address) = if span_log2 > 12 {
        (true, base | 1 << (span_log2 - 1))
    } else {
        (false, base)
    };
    let attributes = attributes.consistent();
    GatosPar::new()
        .with_attr(attributes.memory.to_mair())
        .with_sh(match attributes.shareability {
            Shareability::NonShareable => 0,
            Shareability::OuterShareable => 2,
            Shareability::InnerShareable => 3,
        })
        .with_size(size)
        .with_addr(address >> 12 & ((1 << 44) - 1))
        .into()
}

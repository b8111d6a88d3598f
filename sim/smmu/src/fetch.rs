//! From StreamID to configuration: locating and checking STE and CD, in the architecture's order
//! (IHI 0070 §3.3, §5, §7.3.18).

mod cd;
mod ste;
mod tables;

pub use cd::{cd_violations, resolve_cd};
pub use ste::{resolve_ste, ste_violations};

use crate::addr::{Ipa, Pa};
use crate::attr::Overrides;
use crate::config::SmmuConfig;
use crate::fault::{Cause, Raised};
use crate::ids::{StreamId, SubstreamId, Vmid};
use crate::mem::PhysMem;
use crate::observe::{Observer, Purpose, Structure};
use crate::perm::Request;
use crate::regfile::RegisterFile;
use crate::spec::cd::Cd;
use crate::spec::ste::Ste;
use crate::transaction::{InstructionOrData, Privilege};
use crate::walk::{Lookaside, Place, Stage1, Stage2, Walker};

/// Whose translations a stream uses (IHI 0070 §3.3.4): what TLB entries are tagged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamWorld {
    /// NS-EL1: ASID and VMID.
    El1,
    /// Any-EL2: one range, one privilege level, no ASID.
    El2,
    /// Any-EL2-E2H: as EL1, without VMID.
    El2E2h,
}

/// STE.S1DSS: transactions without a substream on a stream that has substreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DefaultSubstream {
    /// They are terminated.
    Terminate,
    /// They bypass stage 1.
    Bypass,
    /// They use CD 0; SubstreamID 0 itself is forbidden.
    Cd0,
}

/// STE.S1Fmt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CdTableFormat {
    /// One array of CDs.
    Linear,
    /// L1CDs that point to 4 KiB arrays of 64 CDs.
    TwoLevel4K,
    /// L1CDs that point to 64 KiB arrays of 1024 CDs.
    TwoLevel64K,
}

/// Where the CDs of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CdTable {
    /// STE.S1ContextPtr: a PA, or an IPA under stage 2.
    pub s1contextptr: u64,
    /// STE.S1Fmt.
    pub format: CdTableFormat,
    /// log2 of the number of CDs, STE.S1CDMax; 0 where the part has no substreams.
    pub count_log2: u8,
    /// STE.S1DSS.
    pub dss: DefaultSubstream,
    /// STE.S1STALLD.
    pub stall_disabled: bool,
}

/// STE.Config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamAction {
    /// 0b0xx: abort, no event.
    Abort,
    /// 0b100: bypass both stages.
    Bypass,
    /// 0b101, 0b110, 0b111: the stages that are present translate.
    Translate,
}

/// STE.EATS: what ATS may do for the stream (IHI 0070 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Eats {
    /// Translation requests are refused.
    Disabled,
    /// Full ATS: endpoints get physical addresses.
    Full,
    /// Split-stage ATS: endpoints get intermediate addresses. Needs CR0.ATSCHK.
    SplitStage,
}

/// STE.PPAR (IHI 0070 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ppar {
    /// Automatic responses carry no PASID.
    WithoutPasid,
    /// Automatic responses carry the request's PASID.
    WithPasid,
}

/// A legal STE with everything effective: what a configuration cache would hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamContext {
    /// STE.Config.
    pub action: StreamAction,
    /// StreamWorld.
    pub world: StreamWorld,
    /// STE.S2VMID, which tags stage-1 translations too; 0 where the world has none.
    pub vmid: Vmid,
    /// STE.EATS, as far as it is effective.
    pub eats: Eats,
    /// STE.PPAR: a PRI response to an overflow carries the PASID.
    pub ppar: Ppar,
    /// Attribute overrides.
    pub overrides: Overrides,
    /// STE.PRIVCFG, unless it says "incoming".
    pub privcfg: Option<Privilege>,
    /// STE.INSTCFG, unless it says "incoming"; reads only.
    pub instcfg: Option<InstructionOrData>,
    /// STE.DRE: destructive reads and invalidates are allowed.
    pub dre: bool,
    /// STE.DCP: directed cache prefetch is allowed.
    pub dcp: bool,
    /// Where CDs are, if stage 1 is enabled.
    pub cds: Option<CdTable>,
    /// Stage 2, if enabled.
    pub s2: Option<Stage2>,
}

/// What stage 1 does with one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage1Use {
    /// STE.Config does not enable it.
    Off,
    /// S1DSS bypasses it.
    Bypassed,
    /// It translates.
    Translates(Stage1),
}

/// Configuration of one (StreamID, SubstreamID): STE and CD, checked and resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// The stream.
    pub stream: StreamContext,
    /// Stage 1 for this substream.
    pub stage1: Stage1Use,
}

impl StreamContext {
    /// Which CD a transaction uses: the substream decision table (IHI 0070 §3.3.2, §5.2).
    fn cd_index(&self, substream: Option<SubstreamId>) -> Result<CdChoice, Cause> {
        let bad = |index| Err(Cause::BadSubstreamId { index });
        match (self.cds, substream) {
            (None, None) => Ok(CdChoice::Off),
            (None, Some(index)) => bad(index),
            (Some(table), Some(index)) => {
                if table.count_log2 == 0 || index.get() >> table.count_log2 != 0 {
                    bad(index)
                } else if index.get() == 0 && table.dss == DefaultSubstream::Cd0 {
                    Err(Cause::StreamDisabled)
                } else {
                    Ok(CdChoice::Index(table, index))
                }
            }
            (Some(table), None) if table.count_log2 == 0 => {
                Ok(CdChoice::Index(table, SubstreamId::new(0)))
            }
            (Some(table), None) => match table.dss {
                DefaultSubstream::Terminate => Err(Cause::StreamDisabled),
                DefaultSubstream::Bypass => Ok(CdChoice::Bypass),
                DefaultSubstream::Cd0 => Ok(CdChoice::Index(table, SubstreamId::new(0))),
            },
        }
    }
}

enum CdChoice {
    Off,
    Bypass,
    Index(CdTable, SubstreamId),
}

impl<M: PhysMem + ?Sized, O: Observer + ?Sized, C: Lookaside> Walker<'_, M, O, C> {
    /// Fetches, checks and resolves the STE of `stream`.
    #[inline(always)]
    pub(crate) fn stream(
        &mut self,
        config: &SmmuConfig,
        regs: &RegisterFile,
        stream: StreamId,
    ) -> Result<StreamContext, Cause> {
        let ste = self.fetch_ste(config, regs, stream)?;
        resolve_ste(&ste, config, regs.cr2()).map_err(Cause::BadSte)
    }

    /// Decides what stage 1 does for `substream`, fetching, checking and resolving the CD if it
    /// translates.
    #[inline(always)]
    pub(crate) fn stage1_use(
        &mut self,
        config: &SmmuConfig,
        stream: &StreamContext,
        substream: Option<SubstreamId>,
    ) -> Result<Stage1Use, Raised> {
        match stream.cd_index(substream).map_err(Raised::always)? {
            CdChoice::Off => Ok(Stage1Use::Off),
            CdChoice::Bypass => Ok(Stage1Use::Bypassed),
            CdChoice::Index(table, index) => {
                let cd = self.fetch_cd(config, &table, stream.s2.as_ref(), index)?;
                match resolve_cd(&cd, config, stream) {
                    Ok(stage1) => Ok(Stage1Use::Translates(stage1)),
                    Err(illegal) => Err(Raised::always(Cause::BadCd(illegal))),
                }
            }
        }
    }

    /// Finds and reads the STE of `stream` (IHI 0070 §3.3.1).
    #[inline(always)]
    fn fetch_ste(
        &mut self,
        config: &SmmuConfig,
        regs: &RegisterFile,
        stream: StreamId,
    ) -> Result<Ste, Cause> {
        let table = tables::StreamTable::new(config, regs);
        let pa = match table.locate(stream).ok_or(Cause::BadStreamId)? {
            tables::StePlace::Here(pa) => pa,
            tables::StePlace::Through { l1std, index } => {
                let place = configuration(Structure::L1Std, l1std);
                let fault = Cause::SteFetch { fetch: l1std };
                let word = self.read_within(config, place, fault)?;
                table
                    .locate_in_level2(word, index)
                    .ok_or(Cause::BadStreamId)?
            }
        };
        let fault = Cause::SteFetch { fetch: pa };
        if pa.get() >> config.oas != 0 {
            return Err(fault);
        }
        let words = self
            .read_structure(configuration(Structure::Ste, pa))
            .map_err(|_| fault)?;
        Ok(Ste::from_words(words))
    }

    /// Reads a level-1 descriptor, which must lie within the physical address size.
    fn read_within(
        &mut self,
        config: &SmmuConfig,
        place: Place,
        fault: Cause,
    ) -> Result<u64, Cause> {
        if place.pa.get() >> config.oas != 0 {
            return Err(fault);
        }
        self.read_word(place).map_err(|_| fault)
    }

    /// Finds and reads the CD with `index`, each address through stage 2 if there is one
    /// (IHI 0070 §3.3.3).
    #[inline(always)]
    fn fetch_cd(
        &mut self,
        config: &SmmuConfig,
        table: &CdTable,
        s2: Option<&Stage2>,
        index: SubstreamId,
    ) -> Result<Cd, Raised> {
        let limit = if s2.is_some() {
            config.ias()
        } else {
            config.oas
        };
        let at = match table.locate(index) {
            tables::CdPlace::Here(at) => at,
            tables::CdPlace::Through { l1cd, leaf } => {
                let place = self.locate_cd(s2, Structure::L1Cd, l1cd)?;
                let word = self
                    .read_word(place)
                    .map_err(|_| Raised::always(Cause::CdFetch { fetch: place.pa }))?;
                leaf.locate(word, limit)
                    .ok_or_else(|| Raised::always(Cause::BadSubstreamId { index }))?
            }
        };
        let place = self.locate_cd(s2, Structure::Cd, at)?;
        let words = self
            .read_structure(place)
            .map_err(|_| Raised::always(Cause::CdFetch { fetch: place.pa }))?;
        Ok(Cd::from_words(words))
    }

    /// Where the L1CD or CD at `at` is in memory: there, or where stage 2 puts it.
    fn locate_cd(
        &mut self,
        s2: Option<&Stage2>,
        structure: Structure,
        at: u64,
    ) -> Result<Place, Raised> {
        let Some(s2) = s2 else {
            return Ok(configuration(structure, Pa::new(at)));
        };
        let ipa = Ipa::new(at);
        let through = if structure == Structure::L1Cd {
            Purpose::L1Cd
        } else {
            Purpose::Cd
        };
        match self.stage2(s2, ipa, through, Request::TABLE_READ) {
            Ok(leaf) => Ok(Place {
                ipa: Some(ipa),
                ..configuration(structure, leaf.pa)
            }),
            Err(cause) => Err(Raised::of_stage(cause, s2.disposition)),
        }
    }
}

fn configuration(structure: Structure, pa: Pa) -> Place {
    Place {
        structure,
        purpose: Purpose::Configuration,
        ipa: None,
        pa,
    }
}

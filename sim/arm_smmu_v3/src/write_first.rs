//! Writing an STE as 5.10, 6.1 and the series do it (`arm_smmu_write_strtab_ent`): a live one goes
//! through V=0 where the series allows it, and is a fatal assertion elsewhere.

use iommu_core::semantics::SeriesIo;
use iommu_core::{Defect, Errno, KernelBug};
use smmu::addr::Pa;
use smmu::ids::StreamId;
use smmu::spec::attrs::SteConfig;
use smmu::spec::ste::{SteDw0, SteDw1};

use crate::cmdq::Wait;
use crate::command::Reach;
use crate::domain::Nesting;
use crate::entry::ENTRY_WORDS;
use crate::master::Ats;
use crate::platform::{Platform, SmmuId};
use crate::probe::{Prefetch, Unattached};
use crate::ste::{Eats, Stage1Entry, Stage2Entry, Stalls, stage1_dw1};
use crate::{Command, Driver};

/// What an STE is to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) attached: bool,
    pub(crate) nesting: Nesting,
    pub(crate) abort: bool,
    pub(crate) stage1: Option<Stage1Entry>,
    pub(crate) stage2: Option<Stage2Entry>,
    pub(crate) ats: Ats,
    pub(crate) stalls: Stalls,
}

/// Function the assertions are in.
const AT: &str = "arm_smmu_write_strtab_ent";

/// SHCFG: incoming, whether or not the part can override it.
const SHCFG_INCOMING: SteDw1 = SteDw1::new().with_shcfg(1);

impl<P: Platform> Driver<P> {
    fn fatal(&mut self, what: &'static str) -> Errno {
        self.platform.control_mut().stop(KernelBug { at: AT, what })
    }

    /// Brings one STE to what is wanted.
    ///
    /// # Errors
    /// The fatal assertion.
    pub(crate) fn write_ste_first(
        &mut self,
        smmu: SmmuId,
        sid: StreamId,
        pa: Pa,
        wanted: &Wanted,
    ) -> Result<(), Errno> {
        let mut old = [0; ENTRY_WORDS];
        self.platform.read_words(pa, &mut old);
        let live = self.check_old(&old)?;
        if wanted.abort || (wanted.stage1.is_none() && wanted.stage2.is_none()) {
            self.write_untranslated(smmu, sid, pa, wanted);
            return Ok(());
        }
        let series = self.platform.control().semantics.io();
        self.check_live(&old, live, wanted, series)?;
        if live {
            // The series: invalid rather than aborting in silence, until all is written.
            self.platform.store(pa, 0);
            self.sync_ste(smmu, sid);
        }
        let features = self.instances[smmu.index()].features.clone();
        let at = |word: u64| pa.add(word * 8);
        let mut dw1 = old[1];
        if wanted.stage1.is_some() {
            dw1 = stage1_dw1(&features, wanted.stalls).into_bits().get();
        } else if !self.has(Defect::StaleStage1Fields) && series.is_some() {
            dw1 = SHCFG_INCOMING.into_bits().get();
        }
        if wanted.ats == Ats::On {
            dw1 |= SteDw1::new()
                .with_eats(Eats::Trans.bits())
                .into_bits()
                .get();
        }
        if dw1 != old[1] || wanted.stage1.is_some() {
            self.platform.store(at(1), dw1);
        }
        if let Some(stage2) = &wanted.stage2 {
            let dw2 = stage2.dw2(&features).into_bits().get();
            self.platform.store(at(2), dw2);
            let dw3 = stage2.dw3().into_bits().get();
            self.platform.store(at(3), dw3);
        } else if series.is_some() {
            // Some hardware reports C_BAD_STE for a stale S2TTB.
            self.platform.store(at(2), 0);
            self.platform.store(at(3), 0);
        }
        let dw0 = match (&wanted.stage1, &wanted.stage2) {
            (Some(stage1), Some(_)) => stage1.dw0(SteConfig::Nested),
            (Some(stage1), None) => stage1.dw0(SteConfig::Stage1),
            _ => SteDw0::new().with_v(true).with_config(SteConfig::Stage2),
        };
        self.sync_ste(smmu, sid);
        self.platform.store(pa, dw0.into_bits().get());
        self.sync_ste(smmu, sid);
        if self.params.prefetch == Prefetch::Send {
            let hint = [Command::PrefetchConfig { sid }];
            let instance = &mut self.instances[smmu.index()];
            let _logged = instance
                .cmdq
                .issue(&mut self.platform, smmu, &hint, Wait::No);
        }
        Ok(())
    }

    /// Whether the old entry translates.
    fn check_old(&mut self, old: &[u64; ENTRY_WORDS]) -> Result<bool, Errno> {
        if old[0] & 1 == 0 {
            return Ok(false);
        }
        let series = self.platform.control().semantics.series.is_some();
        match SteConfig((old[0] >> 1 & 7) as u8) {
            SteConfig::Bypass => Ok(false),
            SteConfig::Stage1 | SteConfig::Stage2 => Ok(true),
            SteConfig::Nested if series => Ok(true),
            SteConfig::Abort if series || self.params.unattached == Unattached::Abort => Ok(false),
            SteConfig::Abort => Err(self.fatal("STE aborts although bypass is not disabled")),
            _ => Err(self.fatal("STE corruption")),
        }
    }

    /// The assertions about a live entry that is to translate differently.
    fn check_live(
        &mut self,
        old: &[u64; ENTRY_WORDS],
        live: bool,
        wanted: &Wanted,
        series: Option<SeriesIo>,
    ) -> Result<(), Errno> {
        if !live {
            return Ok(());
        }
        let Some(io) = series else {
            return Err(self.fatal("the STE is live"));
        };
        if wanted.stage1.is_some() && old[0] >> 1 & 1 != 0 {
            return Err(self.fatal("stage 1 of the STE is live"));
        }
        if io == SeriesIo::V12 && wanted.nesting != Nesting::Requested {
            return Err(self.fatal("the STE is live and the domain does not nest"));
        }
        if io == SeriesIo::V13 && !(wanted.stage1.is_some() && wanted.stage2.is_some()) {
            return Err(self.fatal("the STE is live and not to nest"));
        }
        if let Some(stage2) = &wanted.stage2 {
            let had_stage2 = old[0] >> 2 & 1 != 0;
            if had_stage2 && old[3] != stage2.dw3().into_bits().get() {
                return Err(self.fatal("S2TTB of the live STE differs"));
            }
        }
        Ok(())
    }

    /// Abort or bypass: one store of doubleword 0 decides.
    fn write_untranslated(&mut self, smmu: SmmuId, sid: StreamId, pa: Pa, wanted: &Wanted) {
        let abort = wanted.abort || !wanted.attached && self.params.unattached == Unattached::Abort;
        let config = if abort {
            SteConfig::Abort
        } else {
            SteConfig::Bypass
        };
        let dw0 = SteDw0::new().with_v(true).with_config(config);
        self.platform.store(pa, dw0.into_bits().get());
        self.platform
            .store(pa.add(8), SHCFG_INCOMING.into_bits().get());
        self.platform.store(pa.add(16), 0);
        self.sync_ste(smmu, sid);
    }

    fn sync_ste(&mut self, smmu: SmmuId, sid: StreamId) {
        let command = Command::CfgiSte {
            sid,
            reach: Reach::Leaf,
        };
        let instance = &mut self.instances[smmu.index()];
        let _logged = instance.issue_sync(&mut self.platform, &[command]);
    }
}

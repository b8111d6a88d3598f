//! Which device a StreamID belongs to: the tree of streams, and how each version fills and
//! unwinds it (`arm_smmu_insert_master`, `arm_smmu_remove_master`).

use iommu_core::semantics::{SeriesIo, SidConflict};
use iommu_core::{Defect, DeviceId, Errno};
use smmu::ids::StreamId;

use crate::Driver;
use crate::platform::{Platform, SmmuId};

impl<P: Platform> Driver<P> {
    /// Puts a device's StreamIDs into the tree and makes sure their STEs exist.
    ///
    /// # Errors
    /// ERANGE: beyond the stream table. ENOMEM. The conflict's error if another device, or, under
    /// the series, the device itself has a StreamID already.
    pub(crate) fn insert_streams(
        &mut self,
        smmu: SmmuId,
        device: DeviceId,
        streams: &[StreamId],
    ) -> Result<(), Errno> {
        let conflict = self.sid_conflict();
        for (index, &sid) in streams.iter().enumerate() {
            let inserted = self.insert_stream(smmu, device, sid, conflict);
            if let Err(errno) = inserted {
                self.unwind_streams(smmu, device, &streams[..index]);
                return Err(errno);
            }
        }
        Ok(())
    }

    /// The series brings its own tree to 5.10. Without its check two devices share an STE (D18).
    fn sid_conflict(&self) -> SidConflict {
        match self.platform.control().semantics.series {
            Some(_) if self.has(Defect::SharedSidRewritten) => SidConflict::Unchecked,
            Some(_) => SidConflict::Refuse(Errno::EINVAL),
            None => self.rules().sid_conflict,
        }
    }

    fn insert_stream(
        &mut self,
        smmu: SmmuId,
        device: DeviceId,
        sid: StreamId,
        conflict: SidConflict,
    ) -> Result<(), Errno> {
        let own_refused = self.has(Defect::SidTreeRefusesOwn);
        let instance = &mut self.instances[smmu.index()];
        if !instance.strtab.covers(sid) {
            return Err(Errno::ERANGE);
        }
        instance
            .strtab
            .prepare(&mut self.platform, sid, &instance.initial)?;
        match (conflict, instance.streams.get(&sid)) {
            (SidConflict::Refuse(errno), Some(owner)) if *owner != device || own_refused => {
                Err(errno)
            }
            // Without a tree the last to come is who is found.
            _ => {
                instance.streams.insert(sid, device);
                Ok(())
            }
        }
    }

    /// Takes back what a failed probe had inserted, as far as the version manages.
    fn unwind_streams(&mut self, smmu: SmmuId, device: DeviceId, inserted: &[StreamId]) {
        let io = self.platform.control().semantics.io();
        let instance = &mut self.instances[smmu.index()];
        if self
            .platform
            .control()
            .semantics
            .has(Defect::SidTreeRefusesOwn)
        {
            match io {
                // The nodes stay, in memory that has been freed.
                Some(SeriesIo::V12) => return,
                // The failing node, which is in no tree, is erased: that empties the tree.
                Some(SeriesIo::V13 | SeriesIo::V14) if !inserted.is_empty() => {
                    instance.streams.clear();
                    return;
                }
                _ => {}
            }
        }
        for sid in inserted {
            if instance.streams.get(sid) == Some(&device) {
                instance.streams.remove(sid);
            }
        }
    }

    /// Removes a device's StreamIDs. Kernels with a tree but without the series also erase the
    /// nodes of a device's duplicates, which are in no tree: that empties it.
    pub(crate) fn remove_streams(&mut self, smmu: SmmuId, device: DeviceId, streams: &[StreamId]) {
        let tree = matches!(self.rules().sid_conflict, SidConflict::Refuse(_));
        let series = self.platform.control().semantics.series.is_some();
        let duplicate = (1..streams.len()).any(|at| streams[..at].contains(&streams[at]));
        let instance = &mut self.instances[smmu.index()];
        if tree && !series && duplicate {
            instance.streams.clear();
            return;
        }
        for sid in streams {
            if instance.streams.get(sid) == Some(&device) {
                instance.streams.remove(sid);
            }
        }
    }
}

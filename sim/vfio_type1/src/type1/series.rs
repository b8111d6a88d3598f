//! The nested-stage series' ioctls: SET_PASID_TABLE, CACHE_INVALIDATE, SET_MSI_BINDING.

use iommu_core::semantics::{LaterGroup, MsiBinding, PasidPolicy, Series, SeriesVfio};
use iommu_core::uapi::PasidTableConfig;
use iommu_core::{Defect, DomainId, Errno, IommuOps, Iova, UserMemory, UserPtr};

use super::{Ctx, Type1};
use crate::abi::ioctl_number;

/// SET_PASID_TABLE: install.
pub const SET: u32 = 1 << 0;
/// SET_PASID_TABLE: take away.
pub const UNSET: u32 = 1 << 1;
/// SET_MSI_BINDING: bind.
pub const BIND: u32 = 1 << 0;
/// SET_MSI_BINDING: take away.
pub const UNBIND: u32 = 1 << 1;

/// Numbers of the three ioctls, which v12 changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesNumbers {
    /// SET_PASID_TABLE.
    pub set_pasid_table: u32,
    /// CACHE_INVALIDATE.
    pub cache_invalidate: u32,
    /// SET_MSI_BINDING.
    pub set_msi_binding: u32,
}

impl SeriesNumbers {
    /// Those of a version of the VFIO half.
    pub const fn of(version: SeriesVfio) -> Self {
        let first = match version {
            SeriesVfio::V11 => 22,
            SeriesVfio::V12 | SeriesVfio::V13 => 18,
        };
        Self {
            set_pasid_table: ioctl_number(first),
            cache_invalidate: ioctl_number(first + 1),
            set_msi_binding: ioctl_number(first + 2),
        }
    }
}

/// What SET_PASID_TABLE is asked to do.
enum Request {
    Set,
    Unset,
}

impl Type1 {
    /// One of the series' ioctls, if it is applied.
    ///
    /// # Errors
    /// ENOTTY: none of them, or not applied. Others: each ioctl's.
    pub(super) fn series_ioctl<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        cmd: u32,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        let series = ctx.semantics().series.ok_or(Errno::ENOTTY)?;
        let numbers = SeriesNumbers::of(series.vfio);
        if cmd == numbers.set_pasid_table {
            self.set_pasid_table(ctx, user, &series, arg)
        } else if cmd == numbers.cache_invalidate {
            self.cache_invalidate(ctx, user, arg)
        } else if cmd == numbers.set_msi_binding && series.msi == MsiBinding::ByIoctl {
            self.set_msi_binding(ctx, user, arg)
        } else {
            Err(Errno::ENOTTY)
        }
    }

    fn set_pasid_table<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        series: &Series,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        const MIN: usize = 8;
        let mut bytes = [0; MIN];
        ctx.copy_in(user, arg, &mut bytes)?;
        let (argsz, flags) = (word(&bytes, 0), word(&bytes, 4));
        if (argsz as usize) < MIN {
            return Err(Errno::EINVAL);
        }
        let request = match flags {
            SET => Request::Set,
            UNSET => Request::Unset,
            _ if !ctx.semantics().has(Defect::UnknownFlagsAccepted) => return Err(Errno::EINVAL),
            _ if flags & (SET | UNSET) == SET | UNSET => return Err(Errno::EINVAL),
            _ if flags & SET != 0 => Request::Set,
            _ if flags & UNSET != 0 => Request::Unset,
            _ => return Err(Errno::EINVAL),
        };
        let config = arg.add(MIN as u64);
        match request {
            Request::Unset => self.unset_tables(ctx),
            Request::Set => {
                if let PasidPolicy::OneGroup { refusal, .. } = series.policy
                    && self.group_count() != 1
                {
                    return Err(refusal);
                }
                if ctx.semantics().has(Defect::FailedSetDetaches) {
                    self.set_as_posted(ctx, user, config)?;
                } else {
                    self.set_transactionally(ctx, user, argsz, config)?;
                }
            }
        }
        Ok(0)
    }

    fn group_count(&self) -> usize {
        let members: usize = self.domains.iter().map(|domain| domain.members.len()).sum();
        members + self.emulated.len()
    }

    /// Whether one more group may join while a table is set, under policy (B).
    pub(crate) fn refuses_later_group<O: IommuOps>(&self, ctx: &Ctx<'_, O>) -> Option<Errno> {
        let series = ctx.semantics().series?;
        match series.policy {
            PasidPolicy::OneGroup {
                later: LaterGroup::Refuse(errno),
                ..
            } if self.pasid.is_some() => Some(errno),
            _ => None,
        }
    }

    /// As posted: every domain, newest first, the configuration read for each; on failure those
    /// done are detached, most recent first.
    fn set_as_posted<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        at: UserPtr,
    ) -> Result<(), Errno> {
        let reread = ctx.semantics().has(Defect::ConfigReadPerDomain);
        let domains = self.domain_ids();
        let mut config = None;
        for (index, domain) in domains.iter().enumerate() {
            let result = match config {
                Some(config) if !reread => Ok(config),
                _ => ctx.core.read_pasid_table(user, at),
            };
            let result = result.and_then(|read| {
                config = Some(read);
                ctx.core.attach_pasid_table(*domain, &read)
            });
            if let Err(errno) = result {
                for done in domains[..index].iter().rev() {
                    ctx.core.detach_pasid_table(*done);
                }
                return Err(errno);
            }
        }
        self.pasid = config.or(self.pasid);
        Ok(())
    }

    /// Our own: the configuration is read once; on failure every domain is put back to what it
    /// had, and the container remembers the table for domains to come.
    fn set_transactionally<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        argsz: u32,
        at: UserPtr,
    ) -> Result<(), Errno> {
        const WHOLE: u32 = 8 + 32;
        let unchecked = ctx.semantics().has(Defect::OuterSizeUnchecked);
        if !unchecked && argsz < WHOLE {
            return Err(Errno::EINVAL);
        }
        let config = ctx.core.read_pasid_table(user, at)?;
        for index in 0..self.domains.len() {
            let domain = self.domains[index].domain;
            if let Err(errno) = ctx.core.attach_pasid_table(domain, &config) {
                for done in self.domains[..index].iter().rev() {
                    restore(ctx, done.domain, done.pasid.as_ref());
                }
                return Err(errno);
            }
        }
        for domain in &mut self.domains {
            domain.pasid = Some(config);
        }
        self.pasid = Some(config);
        Ok(())
    }

    fn unset_tables<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>) {
        for domain in &mut self.domains {
            ctx.core.detach_pasid_table(domain.domain);
            domain.pasid = None;
        }
        self.pasid = None;
    }

    fn domain_ids(&self) -> Vec<DomainId> {
        self.domains.iter().map(|domain| domain.domain).collect()
    }

    fn cache_invalidate<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        const MIN: usize = 8;
        let mut bytes = [0; MIN];
        ctx.copy_in(user, arg, &mut bytes)?;
        if (word(&bytes, 0) as usize) < MIN || word(&bytes, 4) != 0 {
            return Err(Errno::EINVAL);
        }
        let at = arg.add(MIN as u64);
        let posted = ctx.semantics().has(Defect::InvalidateMasksErrors);
        let mut result = Ok(());
        for domain in &self.domains {
            let groups = domain.members.iter().map(|member| member.group);
            let mut devices: Vec<_> = groups
                .filter_map(|group| ctx.core.group(group))
                .flat_map(|group| group.devices.clone())
                .collect();
            if !posted {
                // The command is the domain's, not the device's: once is enough.
                devices.truncate(1);
            }
            for device in devices {
                let here = ctx
                    .core
                    .uapi_cache_invalidate(domain.domain, device, user, at);
                if posted || result.is_ok() {
                    result = here;
                }
                if here.is_err() {
                    break;
                }
            }
        }
        result.map(|()| 0)
    }

    fn set_msi_binding<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        let mut bytes = [0; 32];
        ctx.copy_in(user, arg, &mut bytes)?;
        if (word(&bytes, 0) as usize) < bytes.len() {
            return Err(Errno::EINVAL);
        }
        let long = |at| u64::from(word(&bytes, at)) | u64::from(word(&bytes, at + 4)) << 32;
        let (iova, gpa, size) = (Iova(long(8)), Iova(long(16)), long(24));
        let domains = self.domain_ids();
        match word(&bytes, 4) {
            UNBIND => {
                for domain in domains {
                    ctx.core.unbind_guest_msi(domain, iova);
                }
            }
            BIND => {
                let removes_old = ctx.semantics().has(Defect::MsiUnwindRemovesOld);
                let mut fresh = Vec::new();
                for domain in domains {
                    let before = ctx.core.msi_cookie(domain).cloned();
                    if let Err(errno) = ctx.core.bind_guest_msi(domain, iova, gpa, size) {
                        for done in fresh.iter().rev() {
                            ctx.core.unbind_guest_msi(*done, iova);
                        }
                        return Err(errno);
                    }
                    if removes_old || ctx.core.msi_cookie(domain) != before.as_ref() {
                        fresh.push(domain);
                    }
                }
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    }

    /// The guest's stage 1, as last set.
    pub fn pasid_table(&self) -> Option<&PasidTableConfig> {
        self.pasid.as_ref()
    }
}

/// Puts a domain back to the table it had. Failing here is what the fault plan may demand; the
/// journal has it, and the domain is then left as the driver left it.
fn restore<O: IommuOps>(ctx: &mut Ctx<'_, O>, domain: DomainId, old: Option<&PasidTableConfig>) {
    ctx.core.detach_pasid_table(domain);
    if let Some(old) = old {
        let _ = ctx.core.attach_pasid_table(domain, old);
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

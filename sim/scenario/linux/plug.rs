//! Which Linux it is, and what is plugged in where.

use arm_smmu_v3::SmmuId;
use iommu_core::Errno;
use iommu_core::semantics::{LaterGroup, PasidPolicy};

use super::super::file::{BridgeKind, LinuxSection, Policy, ScenarioFile};
use super::super::names;
use super::super::source::{Diagnostic, Located};
use super::Device;
use crate::linux::LinuxBuilder;
use crate::topology::{BridgeKind as PciBridge, Pci};
use crate::unwind::semantics;

/// The semantics a file names, under its policy.
pub(super) fn named_semantics(section: &LinuxSection) -> Result<iommu_core::Semantics, Diagnostic> {
    let name = &section.semantics;
    let mut semantics = semantics(name)
        .map_err(|error| Diagnostic::new(error, name.span(), "unknown"))?
        .semantics;
    if let Some(policy) = &section.policy {
        let Some(series) = &mut semantics.series else {
            let message = "a policy says who may have a PASID table";
            return Err(Diagnostic::new(message, policy.span(), "this policy")
                .and(name.span(), "has none: the series is not applied"));
        };
        series.policy = match **policy {
            Policy::AllDomains => PasidPolicy::AllDomains,
            Policy::OneGroup => PasidPolicy::OneGroup {
                refusal: Errno::EINVAL,
                later: LaterGroup::Refuse(Errno::EINVAL),
            },
        };
    }
    Ok(semantics)
}

/// Puts the devices where the file has them; groups follow from the buses.
pub(super) fn plug_in(
    file: &ScenarioFile,
    smmus: u32,
    mut builder: LinuxBuilder,
) -> Result<(LinuxBuilder, Vec<Device>), Diagnostic> {
    let mut pci = Pci::default();
    let mut bridges: Vec<&str> = Vec::new();
    let above = |name: Option<&Located<String>>, bridges: &[&str]| match name {
        None => Ok(None),
        Some(name) => {
            names::known("bridge above", name, bridges.iter().copied())?;
            Ok(bridges.iter().position(|bridge| *bridge == **name))
        }
    };
    for bridge in &file.bridge {
        let kind = match bridge.kind {
            BridgeKind::IsolatingPort => PciBridge::IsolatingPort,
            BridgeKind::Port => PciBridge::Port,
            BridgeKind::PcieToPci => PciBridge::PcieToPci,
        };
        pci.bridge(kind, bridge.bus, above(bridge.below.as_ref(), &bridges)?);
        bridges.push(&bridge.name);
    }
    let mut devices: Vec<(Device, SmmuId)> = Vec::new();
    for section in &file.device {
        let smmu = names::within(section.smmu.as_ref(), 0, 0..=u64::from(smmus - 1))?;
        let smmu = SmmuId(smmu as u32);
        let above = above(section.below.as_ref(), &bridges)?;
        let at = pci.function(section.slot, section.function, above);
        let address = pci.functions()[at].address;
        let same = devices.iter().find(|(other, _)| other.address == address);
        if let Some((other, _)) = same {
            let message = format!("two functions at {address}");
            let label = format!("{:?} is there", other.name);
            return Err(Diagnostic::new(message, section.name.span(), label));
        }
        let companion = pci.companion(at).map(|other| &devices[other]);
        if let Some((companion, _)) = companion.filter(|(_, other)| *other != smmu) {
            let message = "one IOMMU group, two SMMUs";
            let label = format!("shares a group with {:?}", companion.name);
            return Err(Diagnostic::new(message, section.name.span(), label));
        }
        builder = builder.function(&pci, at, smmu);
        for alias in &section.aliases {
            let alias = names::within(Some(alias), 0, 0..=u64::from(u32::MAX))?;
            builder = builder.aliases([alias as u32]);
        }
        if section.absent {
            builder = builder.absent();
        }
        let device = Device {
            name: section.name.to_string(),
            address,
            present: !section.absent,
        };
        devices.push((device, smmu));
    }
    let devices = devices.into_iter().map(|(device, _)| device).collect();
    Ok((builder, devices))
}

//! The default scenario: a guest's device behind nested translation, one access that works and one
//! that faults.

use smmu::addr::{Iova, Pa};
use smmu::config::SmmuConfig;
use smmu::ids::{Asid, StreamId, Vmid};
use smmu::mem::{BusAbort, Ram};
use smmu::regfile::{Width, register_offset};
use smmu::spec::attrs::Ps;
use smmu::tables::{
    Bump, CdBuilder, FrameSource, Geometry, Intermediate, LinearStreamTable, MapError, PageTable,
    Physical, SteBuilder,
};
use smmu::{Smmu, Transaction};
use thiserror::Error;

use crate::machine::{Machine, Memory};

/// Why the scenario's machine cannot be built.
#[derive(Debug, Error)]
#[error("the default scenario: {0}")]
pub struct ScenarioError(String);

impl From<MapError> for ScenarioError {
    fn from(error: MapError) -> Self {
        Self(error.to_string())
    }
}

impl From<BusAbort> for ScenarioError {
    fn from(_: BusAbort) -> Self {
        Self("a table lies outside memory".into())
    }
}

/// A machine and the transactions to show on it, each with a sentence about what it is.
#[derive(Debug)]
pub struct Scenario {
    /// The machine.
    pub machine: Machine,
    /// What is done, in order.
    pub steps: Vec<(&'static str, Transaction)>,
}

/// Host memory: 1 GiB, of which the guest has the upper half.
const HOST_BASE: u64 = 0x4000_0000;
const HOST_BYTES: u64 = 0x4000_0000;
/// Where the guest believes its memory starts, and where it is.
const GUEST_IPA: u64 = 0x8000_0000;
const GUEST_PA: u64 = 0x6000_0000;
const GUEST_BYTES: u64 = 0x0080_0000;

const STREAM: StreamId = StreamId::new(8);
const BUFFER_IOVA: u64 = 0xffff_c000;
const BUFFER_IPA: u64 = GUEST_IPA + 0x0031_2000;
const ROM_IOVA: u64 = 0xffff_d000;
const ROM_IPA: u64 = GUEST_IPA + 0x0035_0000;

/// Stage 1: Access flag, Inner Shareable, attribute 0, unprivileged read and write.
const GUEST_PAGE: u64 = 1 << 10 | 3 << 8 | 1 << 6;
/// The same, read-only: AP\[2\].
const GUEST_READ_ONLY: u64 = GUEST_PAGE | 1 << 7;
/// Stage 2: Access flag, Inner Shareable, read and write, Normal write-back.
const HOST_PAGE: u64 = 1 << 10 | 3 << 8 | 3 << 6 | 0xf << 2;

/// A guest maps two pages for its device: a buffer, and one that the device may only read. The
/// hypervisor maps the guest's memory page by page, so that the walk has all its levels.
///
/// # Errors
/// [`ScenarioError`] if the machine's memory does not hold its tables, which would be a mistake in
/// this scenario.
pub fn default_scenario() -> Result<Scenario, ScenarioError> {
    let ram = Ram::with_regions(&[(HOST_BASE, HOST_BYTES)])
        .map_err(|error| ScenarioError(error.to_string()))?;
    let to_pa = |ipa: u64| {
        (GUEST_IPA..GUEST_IPA + GUEST_BYTES)
            .contains(&ipa)
            .then(|| ipa - GUEST_IPA + GUEST_PA)
    };

    // The guest: page table and CD in its own memory.
    let mut guest_memory = Intermediate {
        memory: ram.port(),
        to_pa,
    };
    let mut guest_frames = Bump::new(GUEST_IPA + 0x10_0000, GUEST_IPA + 0x20_0000);
    let mut s1 = PageTable::new(Geometry::stage1(12, 48), &mut guest_frames)?;
    for (iova, ipa, attributes) in [
        (BUFFER_IOVA, BUFFER_IPA, GUEST_PAGE),
        (ROM_IOVA, ROM_IPA, GUEST_READ_ONLY),
    ] {
        s1.map(
            &mut guest_memory,
            &mut guest_frames,
            iova,
            ipa,
            12,
            attributes,
        )?;
    }
    let cd_ipa = guest_frames.take(12).ok_or(MapError::NoFrames)?;
    let cd_pa = to_pa(cd_ipa).ok_or(BusAbort)?;
    let mut host_port = ram.port();
    CdBuilder::new(&s1, Ps::Bits44, Asid::new(1)).write(&mut host_port, Pa::new(cd_pa))?;

    // The hypervisor: stage 2 of all guest memory, and the stream table.
    let mut host_memory = Physical(ram.port());
    let mut host_frames = Bump::new(HOST_BASE + 0x10_0000, HOST_BASE + 0x80_0000);
    let shape = Geometry {
        granule_log2: 12,
        input_bits: 44,
        start_level: 0,
        lpa2: false,
    };
    let mut s2 = PageTable::new(shape, &mut host_frames)?;
    for offset in (0..GUEST_BYTES).step_by(4096) {
        let (ipa, pa) = (GUEST_IPA + offset, GUEST_PA + offset);
        s2.map(&mut host_memory, &mut host_frames, ipa, pa, 12, HOST_PAGE)?;
    }
    let streams = LinearStreamTable::new(6, &mut host_frames)?;
    let ste = SteBuilder::bypass()
        .with_stage1(cd_ipa)
        .with_stage2(&s2, Ps::Bits44, Vmid::new(1));
    streams.set(&mut host_port, STREAM, &ste.0)?;

    let mut smmu =
        Smmu::new(SmmuConfig::qemu_11()).map_err(|error| ScenarioError(error.to_string()))?;
    for (name, width, value) in [
        ("STRTAB_BASE", Width::W64, streams.strtab_base()),
        (
            "STRTAB_BASE_CFG",
            Width::W32,
            streams.strtab_base_cfg().into(),
        ),
        ("CR2", Width::W32, 0b10),
        ("CR0", Width::W32, 0b1),
    ] {
        if let Some(offset) = register_offset(name) {
            smmu.mmio_write(offset, width, value);
        }
    }
    let steps = vec![
        (
            "The device reads its buffer: stage 1 and stage 2 walk in full.",
            Transaction::read(STREAM, Iova::new(BUFFER_IOVA + 0x678)),
        ),
        (
            "The device writes to a page its driver mapped read-only.",
            Transaction::write(STREAM, Iova::new(ROM_IOVA + 0x40)),
        ),
    ];
    Ok(Scenario {
        machine: Machine {
            smmus: vec![smmu],
            memory: Memory::new(ram),
        },
        steps,
    })
}

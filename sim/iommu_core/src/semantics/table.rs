//! The table of differences, from which the documentation is made.

/// One difference between versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// Field of [`Semantics`](super::Semantics).
    pub name: &'static str,
    /// What differs, and between which versions.
    pub differs: &'static str,
    /// Property or test that shows it.
    pub shown_by: &'static str,
}

macro_rules! switches {
    ($($name:literal: $differs:literal, $shown_by:literal;)*) => {
        /// Every difference but the defects, which [`Defect`](super::Defect) lists.
        pub const SWITCHES: &[Switch] = &[$(Switch {
            name: $name,
            differs: $differs,
            shown_by: $shown_by,
        }),*];
    };
}

switches! {
    "core.attach_unwind": "group attach failing part-way: earlier devices stay (5.10), all go back (6.1), earlier ones go back (6.12, 7.2)", "P101";
    "core.ownership": "a detached group is on its default domain (5.10) or blocked while owned (later)", "P86, P103";
    "core.domain_alloc": "a domain learns its IOMMU at first attach (5.10, 6.1) or at allocation", "P107";
    "core.map_shape": "one page a driver call (5.10) or as many equal ones as fit", "P104";
    "vfio.nesting": "type 6 works (5.10, 6.1), is advertised but refused (6.12), is gone (7.2)", "P87, P130";
    "vfio.user_vaddr": "flags VADDR and ALL exist from 5.12 on", "P83, P97";
    "vfio.group_layer": "viability (5.10), ownership (6.1), device files (6.2 on)", "P85, P86";
    "vfio.fine_superpages": "superpage probe at 0 (5.10), at the first free place (6.1), none", "P82";
    "vfio.coherency": "asked of the bus (5.10) or of the domain", "P75";
    "vfio.pin_failure": "a page that cannot be pinned ends the run (5.10) or undoes it", "P89";
    "vfio.region_search": "UNMAP takes any overlapping mapping first (5.10) or the lowest", "P93";
    "vfio.read_only_pin": "read-only pins of untouched memory give the zero page (5.10, 6.1) or an own page", "recordings";
    "vfio.capability_padding": "GET_INFO capabilities are padded to 8 bytes from 6.12 on", "P100";
    "vfio.wrap": "ranges that wrap: EINVAL, from 7.2 on EOVERFLOW", "recordings";
    "vfio.domain_alloc_failure": "a failed domain allocation is EIO, from 7.2 on its own error", "P72";
    "vfio.late_attach_failure": "an attach that fails after replay leaves pages pinned (every kernel), or unpins them (fixed)", "vfio_type1: an_attach_that_fails_after_replay_keeps_its_pins_but_in_the_fixed_semantics";
    "vfio.iommufd": "`/dev/iommu` as container: absent before 6.2; which of two errors of MAP_DMA comes first (6.12, 7.2)", "recordings; vfio_type1: a_length_beyond_all_memory_is_einval_or_eoverflow_by_version";
    "driver.attach_order": "detach first (5.10, 6.1) or prepare and commit", "P107";
    "driver.other_smmu": "ENXIO, from 6.2 on EINVAL", "P107";
    "driver.entry_writer": "V=0 window, hitless, hitless with safe bits", "P24, P111, P112";
    "driver.block_split": "part of a block can be unmapped up to 6.12", "P105";
    "driver.sid_conflict": "two masters with one StreamID: assertion (5.10), EINVAL, ENODEV (7.2)", "P117";
    "driver.invalidation_range": "TTL on every range (5.10) or on leaf ranges only", "P113";
    "driver.zero_size": "invalidating zero bytes is nothing, or everything (7.2)", "P113";
    "driver.invalidation": "by the domain's tag, or by its array of invalidations (7.2)", "P115";
    "driver.freed_table": "a table that is unmapped whole is flushed, or flushed and gathered (7.2)", "recordings";
    "driver.no_access": "mapping without access is ignored (5.10, 6.1) or EINVAL", "driver: mapping_without_access_is_ignored_or_refused";
    "driver.concatenation": "stage-2 start tables are concatenated where possible, or where mandatory (7.2)", "recordings";
    "driver.event_reports": "events reach no handler (5.10), a handler (6.1), or a handler if stalled", "P69, P70";
    "series.vfio": "ioctl numbers, flag checks and region types of v11, v12, v13", "P5, P15";
    "series.io": "structure layout, checks and commands of v12 to v16", "P10, P21, P49";
    "series.policy": "who shares a PASID table: (A) all domains, (B) one group only, (C) shared stage 2", "P44, P45";
}

//! Entries of a table: what a range of a file becomes.

use smmu::tables::{Bump, PageTable, TableMemory};

use super::super::file::{Access, MapEntry};
use super::super::names;
use super::super::source::{Diagnostic, Located, Number};
use super::failed;

/// Blocks and pages a map entry may have.
const LEAVES_MAX: u64 = 1 << 20;

/// Fills a range of a table.
pub(super) fn fill(
    table: &mut PageTable,
    memory: &mut impl TableMemory,
    frames: &mut Bump,
    entry: &Located<MapEntry>,
    leaf: fn(&MapEntry) -> Result<u64, Diagnostic>,
) -> Result<(), Diagnostic> {
    let granule = 1 << table.geometry().granule_log2;
    let page = entry.page.as_ref().map_or(granule, |page| page.0);
    let size = entry.size.as_ref().map_or(page, |size| size.0);
    let span = entry.page.as_ref().or(entry.size.as_ref());
    let span = span.map_or_else(|| entry.span(), Located::span);
    if !page.is_power_of_two()
        || size == 0
        || !size.is_multiple_of(page)
        || size / page > LEAVES_MAX
    {
        let message = format!("{size:#x} bytes are not 1 to 2^20 pages of {page:#x} bytes");
        return Err(Diagnostic::new(message, span, "here"));
    }
    let bits = leaf(entry)?;
    for offset in (0..size).step_by(page as usize) {
        let wrapped = || Diagnostic::new("beyond the address space", entry.span(), "this range");
        let from = entry.from.0.checked_add(offset).ok_or_else(wrapped)?;
        let to = entry.to.0.checked_add(offset).ok_or_else(wrapped)?;
        table
            .map(memory, frames, from, to, page.trailing_zeros(), bits)
            .map_err(|error| failed(error, entry.span()))?;
    }
    Ok(())
}

const INNER_SHAREABLE: u64 = 3 << 8;

/// Attribute bits of a stage-1 leaf (DDI 0487 §D8.3): unprivileged, attribute 0.
pub(super) fn leaf_s1(entry: &MapEntry) -> Result<u64, Diagnostic> {
    let ap = match entry.access {
        Access::ReadWrite => 0b01,
        Access::Read => 0b11,
        Access::None | Access::Write => {
            let message = "stage 1 has no such permission";
            return Err(Diagnostic::new(message, entry.from.span(), "of this range")
                .help("AP allows read and read-write"));
        }
    };
    Ok(common(entry) | INNER_SHAREABLE | ap << 6 | u64::from(!entry.global) << 11)
}

/// Attribute bits of a stage-2 leaf: Normal write-back.
#[expect(clippy::unnecessary_wraps, reason = "the sibling of leaf_s1")]
pub(super) fn leaf_s2(entry: &MapEntry) -> Result<u64, Diagnostic> {
    let s2ap = match entry.access {
        Access::None => 0,
        Access::Read => 1,
        Access::Write => 2,
        Access::ReadWrite => 3,
    };
    Ok(common(entry) | INNER_SHAREABLE | s2ap << 6 | 0xf << 2)
}

fn common(entry: &MapEntry) -> u64 {
    u64::from(!entry.unused) << 10 | u64::from(entry.dirty_by_hardware) << 51
}

/// log2 of a granule.
pub(super) fn granule(given: Option<&Located<Number>>) -> Result<u32, Diagnostic> {
    let Some(given) = given else { return Ok(12) };
    match given.0 {
        0x1000 => Ok(12),
        0x4000 => Ok(14),
        0x10000 => Ok(16),
        other => Err(Diagnostic::new(
            format!("{other:#x} bytes are no granule"),
            given.span(),
            "expected 4KiB, 16KiB or 64KiB",
        )),
    }
}

/// Bits of input address.
pub(super) fn bits(
    given: Option<&Located<Number>>,
    default: u64,
    granule: u32,
) -> Result<u32, Diagnostic> {
    let least = u64::from(granule) + 4;
    names::within(given, default, least..=48).map(|bits| bits as u32)
}

//! Points as a table for programs. Only what does not depend on the host.

use std::fmt::Write;

use super::Point;

/// One line a point.
pub fn csv(points: &[Point]) -> String {
    let mut out = String::from(
        "page,memory_gib,devices,sharing,table_bytes,attach_stores,attach_commands,map_stores,\
         map_commands,unmap_stores,unmap_commands,pinned_pages,vmids,tlb_entries,probes,\
         tlb_reach_bytes,origin\n",
    );
    for point in points {
        let c = &point.counts;
        let numbers = [
            c.table_bytes,
            c.attach_stores,
            c.attach_commands,
            c.map_stores,
            c.map_commands,
            c.unmap_stores,
            c.unmap_commands,
            c.pinned_pages,
            c.vmids,
            c.tlb_entries,
            c.probes,
            point.tlb_reach_bytes(),
        ];
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "{},{},{},{}",
            point.page.word(),
            point.memory_gib,
            point.devices,
            point.sharing.word()
        );
        for number in numbers {
            let _ = write!(out, ",{number}");
        }
        let _ = writeln!(out, ",{}", point.origin.word());
    }
    out
}

//! How many descriptors a cold walk reads: (n+1)(m+1)−1 for n levels of stage 1 over m levels of
//! stage 2, whatever the granules, sizes, start levels and concatenation. Configuration fetches are
//! counted apart.

use smmu::observe::AccessCounts;

use crate::support::bench::*;

/// Tables of one stage: which sizes there are, and how STE and CD ask for them.
#[derive(Debug, Clone, Copy)]
struct Tables {
    granule: u32,
    bits: u32,
    levels: u32,
    /// {SL0_2, SL0}; stage 2 only.
    sl0: u64,
}

impl Tables {
    fn stride(self) -> u32 {
        self.granule - 3
    }

    /// Lowest bit the start table resolves.
    fn start(self) -> u32 {
        self.granule + self.stride() * (self.levels - 1)
    }

    /// The encoding of TG0 and S2TG (IHI 0070 §5.2, §5.4).
    fn tg(self) -> u64 {
        match self.granule {
            12 => 0,
            16 => 1,
            _ => 2,
        }
    }

    /// 4 KiB and 16 KiB tables are wider than 48 bits, or start above level 0 or 1, with DS alone.
    fn ds(self) -> u64 {
        u64::from(self.granule != 16 && (self.bits > 48 || self.sl0 == self.lpa2_sl0()))
    }

    fn lpa2_sl0(self) -> u64 {
        if self.granule == 12 { 4 } else { 3 }
    }

    /// Where the descriptor of `input` is in a table at `table`, `level` levels below the start.
    fn slot(self, table: u64, level: u32, input: u64) -> u64 {
        let lsb = self.start() - level * self.stride();
        let width = if level == 0 {
            self.bits - lsb
        } else {
            self.stride()
        };
        table + (input >> lsb & ((1 << width) - 1)) * 8
    }
}

/// Every stage-1 size: the levels follow from it (DDI 0487 §D8.2).
fn stage1_sizes() -> impl Iterator<Item = Tables> {
    [(12, 16), (14, 16), (16, 17)]
        .into_iter()
        .flat_map(|(granule, smallest)| {
            (smallest..=52).map(move |bits: u32| Tables {
                granule,
                bits,
                levels: (bits - granule).div_ceil(granule - 3),
                sl0: u64::MAX,
            })
        })
}

/// Every stage-2 size with each start level that can resolve it: one to sixteen concatenated
/// tables (DDI 0487 §D8.2.8). Sizes too small for what this test maps are left out.
fn stage2_sizes() -> impl Iterator<Item = Tables> {
    // (granule, levels, {SL0_2, SL0})
    [
        (12, 1, 3),
        (12, 2, 0),
        (12, 3, 1),
        (12, 4, 2),
        (12, 5, 4),
        (14, 1, 0),
        (14, 2, 1),
        (14, 3, 2),
        (14, 4, 3),
        (16, 1, 0),
        (16, 2, 1),
        (16, 3, 2),
    ]
    .into_iter()
    .flat_map(|(granule, levels, sl0)| {
        let lsb = granule + (granule - 3) * (levels - 1);
        let top = (lsb + granule - 3 + 4).min(52);
        ((lsb + 1).max(MAPPED_BITS)..=top).map(move |bits| Tables {
            granule,
            bits,
            levels,
            sl0,
        })
    })
}

/// All that stage 2 maps lies below 2^21.
const MAPPED_BITS: u32 = 21;
/// Stage-1 tables, one for each level, and the page they map.
const STAGE1_TABLES: u64 = 0x12_0000;
const TABLE_SIZE: u64 = 0x1_0000;
const OUTPUT: u64 = 0x18_0000;
/// Aligned to sixteen 64 KiB tables.
const STAGE2_START: u64 = 0x100_0000;
const STAGE2_TABLES: u64 = 0x200_0000;

/// The address all walks translate: the top bit of its range, and an offset.
fn input(tables: Tables) -> u64 {
    1 << (tables.bits - 1) | 0x30
}

/// Writes stage-1 tables for `input` alone, and the CD.
fn with_stage1(bench: &mut Bench, tables: Tables) {
    let va = input(tables);
    for level in 0..tables.levels {
        let table = STAGE1_TABLES + u64::from(level) * TABLE_SIZE;
        let descriptor = if level + 1 == tables.levels {
            OUTPUT | S1_PAGE & !(tables.ds() * 0x300)
        } else {
            (table + TABLE_SIZE) | 3
        };
        bench.write(tables.slot(table, level, va), descriptor);
    }
    bench
        .cd
        .set(5, 0, 64 - u64::from(tables.bits))
        .set(7, 6, tables.tg())
        .bit(186, tables.ds())
        .address(115, 68, STAGE1_TABLES);
}

/// Maps every page below 2^21 to itself with pages alone, and writes the STE's half of it.
fn with_stage2(bench: &mut Bench, tables: Tables) {
    let mut next = STAGE2_TABLES;
    for page in (0..1u64 << MAPPED_BITS).step_by(1 << tables.granule) {
        let mut table = STAGE2_START;
        for level in 0..tables.levels {
            let slot = tables.slot(table, level, page);
            if level + 1 == tables.levels {
                bench.write(slot, page | S2_PAGE & !(tables.ds() * 0x300));
            } else if bench.peek(slot) == 0 {
                bench.write(slot, next | 3);
                table = next;
                next += TABLE_SIZE;
            } else {
                table = bench.peek(slot) & !3;
            }
        }
    }
    bench
        .ste
        .set(143, 128, 7)
        .set(165, 160, 64 - u64::from(tables.bits))
        .set(167, 166, tables.sl0 & 3)
        .set(175, 174, tables.tg())
        .set(178, 176, 5)
        .bit(179, 1)
        .bit(186, 1)
        .bit(195, tables.ds())
        .bit(194, tables.sl0 >> 2)
        .address(243, 196, STAGE2_START);
}

fn counts(configuration: u64, configuration_stage2: u32, stage1: u32, stage2: u32) -> AccessCounts {
    AccessCounts {
        configuration,
        configuration_stage2: configuration_stage2.into(),
        stage1: stage1.into(),
        stage2: stage2.into(),
        updates: 0,
    }
}

#[test]
fn stage_1_reads_one_descriptor_a_level() {
    for tables in stage1_sizes() {
        let mut bench = Bench::stage1();
        with_stage1(&mut bench, tables);
        let (outcome, found) = bench.counts(&read(input(tables)));
        assert_eq!(pa(&outcome), OUTPUT | 0x30, "{tables:?}");
        assert_eq!(found, counts(2, 0, tables.levels, 0), "{tables:?}");
    }
}

#[test]
fn stage_2_reads_one_descriptor_a_level_however_many_tables_are_concatenated() {
    for tables in stage2_sizes() {
        let mut bench = Bench::bypass();
        bench.ste.set(3, 1, 0b110);
        with_stage2(&mut bench, tables);
        let (outcome, found) = bench.counts(&read(OUTPUT | 0x30));
        assert_eq!(pa(&outcome), OUTPUT | 0x30, "{tables:?}");
        assert_eq!(found, counts(1, 0, 0, tables.levels), "{tables:?}");
    }
}

#[test]
fn nested_walks_read_n_plus_1_times_m_plus_1_minus_1_descriptors() {
    let mut pairs = 0;
    for second in stage2_sizes() {
        let mut mapped = Bench::stage1();
        mapped.ste.set(3, 1, 0b111);
        with_stage2(&mut mapped, second);
        for first in stage1_sizes() {
            // The stage-1 tables of one size are in the way of the next: each has its own copy.
            let mut bench = mapped.clone();
            with_stage1(&mut bench, first);
            let (outcome, found) = bench.counts(&read(input(first)));
            assert_eq!(pa(&outcome), OUTPUT | 0x30, "{first:?} over {second:?}");
            let (n, m) = (first.levels, second.levels);
            assert_eq!(
                found,
                counts(2, m, n, (n + 1) * m),
                "{first:?} over {second:?}"
            );
            assert_eq!(found.walk(), u64::from((n + 1) * (m + 1) - 1));
            pairs += 1;
        }
    }
    // Five levels over five, among others.
    assert_eq!(pairs, stage1_sizes().count() * stage2_sizes().count());
}

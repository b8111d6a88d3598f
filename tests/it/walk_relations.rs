//! Metamorphic relations: what must stay the same when the tables say the same in another way.

use proptest::prelude::*;
use smmu::addr::{Iova, Pa};
use smmu::config::SmmuConfig;
use smmu::ids::{Asid, StreamId, Vmid};
use smmu::mem::Ram;
use smmu::observe::AccessCounts;
use smmu::regfile::{Width, register_offset};
use smmu::spec::attrs::Ps;
use smmu::tables::{
    Bump, CdBuilder, FrameSource, Geometry, LinearStreamTable, PageTable, Physical, SteBuilder,
};
use smmu::transaction::{AccessKind, Path};
use smmu::{Outcome, Smmu, Transaction};

const S1_PAGE: u64 = 1 << 10 | 3 << 8 | 1 << 6;
const S2_PAGE: u64 = 1 << 10 | 3 << 8 | 3 << 6 | 0xf << 2;
const STREAM: StreamId = StreamId::new(3);

/// A page or block of each stage: input, output, log2 of its size, attributes.
type Leaf = (u64, u64, u32, u64);

/// An SMMU with one stream, whose stages map what is given. Tables lie below 16 MiB.
fn machine(s1: Option<&[Leaf]>, s2: Option<&[Leaf]>) -> (Smmu, Ram) {
    let ram = Ram::sparse();
    let mut memory = Physical(ram.port());
    let mut frames = Bump::new(0x1_0000, 0x100_0000);
    let mut ste = SteBuilder::bypass();
    if let Some(leaves) = s1 {
        let mut table = PageTable::new(Geometry::stage1(12, 48), &mut frames).unwrap();
        for &(input, output, span, attributes) in leaves {
            table
                .map(&mut memory, &mut frames, input, output, span, attributes)
                .unwrap();
        }
        let cd = frames.take(12).unwrap();
        CdBuilder::new(&table, Ps::Bits48, Asid::new(1))
            .write(&mut ram.port(), Pa::new(cd))
            .unwrap();
        ste = ste.with_stage1(cd);
    }
    if let Some(leaves) = s2 {
        let shape = Geometry {
            granule_log2: 12,
            input_bits: 48,
            start_level: 0,
            lpa2: false,
        };
        let mut table = PageTable::new(shape, &mut frames).unwrap();
        for &(input, output, span, attributes) in leaves {
            table
                .map(&mut memory, &mut frames, input, output, span, attributes)
                .unwrap();
        }
        ste = ste.with_stage2(&table, Ps::Bits48, Vmid::new(1));
    }
    let streams = LinearStreamTable::new(4, &mut frames).unwrap();
    streams.set(&mut ram.port(), STREAM, &ste.0).unwrap();
    let mut smmu = Smmu::new(SmmuConfig {
        st_level: true,
        ..SmmuConfig::full()
    })
    .unwrap();
    for (name, width, value) in [
        ("STRTAB_BASE", Width::W64, streams.strtab_base()),
        (
            "STRTAB_BASE_CFG",
            Width::W32,
            streams.strtab_base_cfg().into(),
        ),
        ("CR0", Width::W32, 1),
    ] {
        smmu.mmio_write(register_offset(name).unwrap(), width, value);
    }
    (smmu, ram)
}

fn translate((smmu, ram): &(Smmu, Ram), address: u64, kind: AccessKind) -> Outcome {
    let transaction = Transaction::new(STREAM, Iova::new(address), kind);
    smmu.translate_cold(&mut ram.port(), &transaction, &mut ())
}

/// Stage 2 that maps the bottom 4 GiB onto itself, with 1 GiB blocks.
fn identity_s2() -> Vec<Leaf> {
    (0..4).map(|i| (i << 30, i << 30, 30, S2_PAGE)).collect()
}

fn page() -> impl Strategy<Value = u64> {
    (0x1_0000_u64..0xf_0000).prop_map(|number| number << 12)
}

proptest! {
    /// Stage 2 that changes nothing changes nothing.
    #[test]
    fn identity_stage_2_equals_stage_1_only(
        input in page(), output in page(), offset in 0_u64..4096,
        read_only in any::<bool>(), write in any::<bool>(), probe in page(),
    ) {
        let attributes = S1_PAGE | u64::from(read_only) << 7;
        let s1 = [(input, output, 12, attributes)];
        let alone = machine(Some(&s1), None);
        let nested = machine(Some(&s1), Some(&identity_s2()));
        let kind = if write { AccessKind::Write } else { AccessKind::Read };
        for address in [input + offset, probe + offset] {
            let (a, b) = (translate(&alone, address, kind), translate(&nested, address, kind));
            prop_assert_eq!(a.pa(), b.pa());
            prop_assert_eq!(a.event(), b.event());
            if let (Outcome::Translated(a), Outcome::Translated(b)) = (a, b) {
                prop_assert_eq!(a.attributes, b.attributes);
                prop_assert_eq!((a.path, b.path), (Path::Stage1, Path::Nested));
            }
        }
    }

    /// Stage 1 that changes nothing leaves stage 2's address.
    #[test]
    fn identity_stage_1_gives_the_address_of_stage_2_only(
        input in page(), output in page(), offset in 0_u64..4096,
    ) {
        let s2 = [(input, output, 12, S2_PAGE)];
        // The bottom 16 MiB holds the guest's tables.
        let tables: Vec<Leaf> = (0..8).map(|i| (i << 21, i << 21, 21, S2_PAGE)).collect();
        let both: Vec<Leaf> = tables.iter().chain(&s2).copied().collect();
        let s1 = [(input, input, 12, S1_PAGE)];
        let alone = machine(None, Some(&s2));
        let nested = machine(Some(&s1), Some(&both));
        let kind = AccessKind::Read;
        prop_assert_eq!(translate(&alone, input + offset, kind).pa(), Some(Pa::new(output + offset)));
        prop_assert_eq!(translate(&nested, input + offset, kind).pa(), Some(Pa::new(output + offset)));
    }

    /// A 2 MiB block and its 512 pages translate alike; the block costs one descriptor less.
    #[test]
    fn a_block_equals_its_pages(number in 0x80_u64..0x700, to in 0x80_u64..0x700, offset in 0_u64..1 << 21) {
        let (input, output) = (number << 21, to << 21);
        let pages: Vec<Leaf> =
            (0..512).map(|i| (input + (i << 12), output + (i << 12), 12, S1_PAGE)).collect();
        let by_block = machine(Some(&[(input, output, 21, S1_PAGE)]), None);
        let by_pages = machine(Some(&pages), None);
        let mut costs = [AccessCounts::default(); 2];
        for (machine, cost) in [&by_block, &by_pages].into_iter().zip(&mut costs) {
            let transaction = Transaction::read(STREAM, Iova::new(input + offset));
            let outcome = machine.0.translate_cold(&mut machine.1.port(), &transaction, cost);
            prop_assert_eq!(outcome.pa(), Some(Pa::new(output + offset)));
        }
        prop_assert_eq!((costs[0].walk(), costs[1].walk()), (3, 4));
    }

    /// Taking a permission away never lets an access through that was refused.
    #[test]
    fn permissions_are_monotone(
        ap in 0_u64..4, s2ap in 0_u64..4, take1 in 0_u64..4, take2 in 0_u64..4, write in any::<bool>(),
    ) {
        let (input, ipa) = (0x2000_0000, 0x3000_0000);
        let outcome = |ap: u64, s2ap: u64| {
            let s1 = [(input, ipa, 12, 1 << 10 | ap << 6)];
            let mut s2: Vec<Leaf> = (0..8).map(|i| (i << 21, i << 21, 21, S2_PAGE)).collect();
            s2.push((ipa, 0x5000_0000, 12, 1 << 10 | s2ap << 6 | 0xf << 2));
            let kind = if write { AccessKind::Write } else { AccessKind::Read };
            translate(&machine(Some(&s1), Some(&s2)), input, kind).pa().is_some()
        };
        // AP[1] clear and AP[2] set take rights away; so does each S2AP bit cleared.
        let (less_ap, less_s2ap) = (ap & !(take1 & 1) | take1 & 2, s2ap & !take2);
        prop_assert!(outcome(ap, s2ap) || !outcome(less_ap, less_s2ap));
    }
}

//! Machines without software: what the builder is told is what devices get, on every part.

use proptest::prelude::*;
use smmu::bare::BuildError;
use smmu::prelude::*;
use smmu::spec::event::EventId;
use smmu::tables::{Geometry, MapError};

const DEVICE: StreamId = StreamId::new(0x28);
const NEIGHBOUR: StreamId = StreamId::new(0x29);

fn parts() -> [SmmuConfig; 5] {
    [
        SmmuConfig::full(),
        SmmuConfig::minimal(),
        SmmuConfig::qemu_11(),
        SmmuConfig::mmu_600(),
        SmmuConfig::mmu_700(),
    ]
}

/// Ranges of pages, apart in the input: its first page, where it leads, how many pages.
fn ranges() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    let range = (0u64..6, 0u64..1 << 12, 1u64..40);
    prop::collection::vec(range, 1..6).prop_map(|ranges| {
        let mut next = 0;
        let place = |(gap, output, pages)| {
            let input = next + gap;
            next = input + pages;
            (input, output, pages)
        };
        ranges.into_iter().map(place).collect()
    })
}

fn mapped<I: smmu::addr::Address + From<u64>, O: smmu::addr::Address + From<u64>>(
    ranges: &[(u64, u64, u64)],
    shape: Geometry,
    leaves: Leaves,
) -> Mappings<I, O> {
    let page = 1u64 << shape.granule_log2;
    let empty = Mappings::new().in_shape(shape).by(leaves);
    ranges
        .iter()
        .fold(empty, |mappings, (input, output, pages)| {
            let (input, output) = (I::from(input * page), O::from(output * page));
            mappings.map(input, output, pages * page, Allow::ReadWrite)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // The oracle is the list of ranges: a walk of the tables gives what the list says, and faults
    // where it says nothing.
    #[test]
    fn devices_are_led_where_the_mappings_say(
        (part, granule) in (0usize..5, 0usize..3),
        (stage1, stage2) in (ranges(), ranges()),
        leaves in prop_oneof![Just(Leaves::Pages), Just(Leaves::Largest)],
    ) {
        let mut part = parts()[part].clone();
        part.sidsize = part.sidsize.max(6);
        let granule_log2 = [12u32, 14, 16][granule];
        prop_assume!(part.has_granule(granule_log2 as u8));
        let shape1 = Geometry::stage1(granule_log2, 40);
        let shape2 = Geometry::stage2(granule_log2, part.oas.min(44).into());
        let page = 1u64 << granule_log2;
        let alone: Mappings<Iova, Pa> = mapped(&stage1, shape1, leaves);
        let guest: Mappings<Iova, Ipa> = mapped(&stage1, shape1, leaves);
        let host: Mappings<Ipa, Pa> = mapped(&stage2, shape2, leaves);
        let nested = StreamId::new(3);
        let mut builder = BareMachine::builder().part(part.clone());
        if part.s1p {
            builder = builder.stage1(DEVICE, alone.clone());
        }
        if part.s2p {
            builder = builder.stage2(NEIGHBOUR, host.clone());
        }
        if part.s1p && part.s2p {
            builder = builder.nested(nested, guest.clone(), host.clone());
        }
        let mut machine = builder.build().unwrap();
        // Guests' tables begin here, and are mapped where nothing else is.
        let tables = 0x1000_0000..0x1100_0000;
        for number in 0..260 {
            let address = number * page + 0x123;
            let iova = Iova::new(address);
            if part.s1p {
                let expected = alone.output(iova).map(Pa::new);
                prop_assert_eq!(machine.read(DEVICE, iova).pa(), expected);
            }
            if part.s2p {
                let expected = host.output(Ipa::new(address)).map(Pa::new);
                prop_assert_eq!(machine.write(NEIGHBOUR, iova).pa(), expected);
            }
            if part.s1p && part.s2p {
                let ipa = guest.output(iova).map(Ipa::new);
                let found = machine.write(nested, iova).pa();
                if !ipa.is_some_and(|ipa| tables.contains(&ipa.get())) {
                    let expected = ipa.and_then(|ipa| host.output(ipa)).map(Pa::new);
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}

// A guest's tables lie in its memory, so devices of one guest have theirs side by side.
#[test]
fn devices_of_one_guest_have_tables_side_by_side_in_its_memory() {
    let guest = |page: u64| {
        let (iova, ipa) = (Iova::new(0x1000), Ipa::new(0x8000_0000 + page));
        Mappings::new().map(iova, ipa, 4096, Allow::Read)
    };
    let host = Mappings::new().map(
        Ipa::new(0x8000_0000),
        Pa::new(0x6000_0000),
        8 << 20,
        Allow::ReadWrite,
    );
    let mut machine = BareMachine::builder()
        .guest_tables(Ipa::new(0x8010_0000))
        .nested(DEVICE, guest(0x5000), host.clone())
        .nested(NEIGHBOUR, guest(0x7000), host)
        .build()
        .unwrap();
    for (device, pa) in [(DEVICE, 0x6000_5008), (NEIGHBOUR, 0x6000_7008)] {
        assert_eq!(
            machine.read(device, Iova::new(0x1008)).pa(),
            Some(Pa::new(pa))
        );
        let leaf = machine
            .leaf(device, Iova::new(0x1008), Stage::Stage1)
            .unwrap();
        assert!((0x6010_0000..0x6020_0000).contains(&leaf.get()), "{leaf}");
        let event = *machine.write(device, Iova::new(0x1008)).event().unwrap();
        assert_eq!(event.dw0.r#type(), EventId::F_PERMISSION);
    }
}

// IHI 0070 §3.5.1: pointers wrap; a queue that is read from never overflows.
#[test]
fn events_are_taken_in_order_as_often_as_the_queue_is_long() {
    let nothing = Mappings::<Iova, Pa>::new();
    let mut machine = BareMachine::builder()
        .stage1(DEVICE, nothing)
        .build()
        .unwrap();
    for round in 0..5u64 {
        for n in 0..100 {
            machine.read(DEVICE, Iova::new(round << 32 | n << 12));
        }
        let events = machine.take_events();
        let addresses: Vec<u64> = events.iter().map(|event| event.words()[2]).collect();
        let expected: Vec<u64> = (0..100).map(|n| round << 32 | n << 12).collect();
        assert_eq!(addresses, expected);
        assert_eq!(machine.take_events(), []);
    }
    // One more than there is room for: the last is lost, and later ones are recorded again.
    for n in 0..200 {
        machine.read(DEVICE, Iova::new(n << 12));
    }
    assert_eq!(machine.take_events().len(), 128);
    machine.read(DEVICE, Iova::new(0));
    assert_eq!(machine.take_events().len(), 1);
}

#[test]
fn a_change_of_a_descriptor_shows_when_it_is_invalidated() {
    let page = Mappings::new().map(Iova::new(0x1000), Pa::new(0x5000_0000), 4096, Allow::Read);
    let mut machine = BareMachine::builder().stage1(DEVICE, page).build().unwrap();
    let address = Iova::new(0x1234);
    assert_eq!(
        machine.read(DEVICE, address).pa(),
        Some(Pa::new(0x5000_0234))
    );
    let leaf = machine.leaf(DEVICE, address, Stage::Stage1).unwrap();
    assert_eq!(machine.leaf(DEVICE, address, Stage::Stage2), None);
    let before = machine.clone();
    machine.store(leaf, 0).unwrap();
    assert_eq!(
        machine.read(DEVICE, address).pa(),
        Some(Pa::new(0x5000_0234))
    );
    // CMD_TLBI_NSNH_ALL.
    assert!(machine.command([0x30, 0]).unwrap() > 0);
    assert_eq!(machine.read(DEVICE, address).pa(), None);
    assert_ne!(machine.load(leaf), before.load(leaf));
    assert_eq!(machine.load(Pa::new(0x1000)), Err(smmu::mem::BusAbort));
}

#[test]
fn what_cannot_be_built_is_said_with_the_stream_and_the_stage() {
    let device = || BareMachine::builder();
    let map = |input: u64, bytes: u64| {
        Mappings::new().map(Iova::new(input), Pa::new(0x5000_0000), bytes, Allow::Read)
    };
    let shaped = |shape| map(0, 0x1000).in_shape(shape);
    let shape = |granule_log2, input_bits, start_level| Geometry {
        granule_log2,
        input_bits,
        start_level,
        lpa2: false,
    };
    let mut one_stage = SmmuConfig::minimal();
    one_stage.sidsize = 6;
    let mut small = SmmuConfig::qemu_11();
    small.gran16k = false;
    let cases = [
        (
            device().bypass(DEVICE).bypass(DEVICE),
            "stream 0x28 is configured twice",
        ),
        (
            device()
                .part(SmmuConfig::mmu_600())
                .bypass(StreamId::new(u32::MAX)),
            "stream 0xffffffff: the part has StreamIDs of 24 bits",
        ),
        (
            device().part(one_stage).stage2(DEVICE, Mappings::new()),
            "stream 0x28: the part has no Stage2",
        ),
        (
            device().stage1(DEVICE, map(0x800, 0x1000)),
            "stream 0x28, Stage1: 0x800 to 0x50000000: no page or block of 2^12 bytes fits",
        ),
        (
            device().stage1(DEVICE, map(0, 0)),
            "stream 0x28, Stage1: 0x0 to 0x50000000: no page or block of 2^12 bytes fits",
        ),
        (
            device().stage1(DEVICE, map(!0xfff, 0x2000)),
            "stream 0x28, Stage1: 0xfffffffffffff000 to 0x50000000: no page or block of 2^12 bytes fits",
        ),
        (
            device().stage1(DEVICE, map(1 << 48, 0x1000)),
            "stream 0x28, Stage1: 0x1000000000000 is beyond the table's input size",
        ),
        (
            device().stage1(
                DEVICE,
                map(0, 0x2000).map(Iova::new(0x1000), Pa::new(0), 0x1000, Allow::Read),
            ),
            "stream 0x28, Stage1: 0x1000 is already mapped",
        ),
        (
            device()
                .tables(Pa::new(0x4010_0000), 0x2000)
                .stage1(DEVICE, map(0, 0x1000)),
            "stream 0x28, Stage1: no memory left for a table",
        ),
        (
            device()
                .tables(Pa::new(0x1000_0000), 1 << 20)
                .stage1(DEVICE, map(0, 0x1000)),
            "stream 0x28, Stage1: the table at 0x10000000 is not in memory",
        ),
        (
            device()
                .tables(Pa::new(0x1000_0000), 1 << 20)
                .bypass(DEVICE),
            "tables from 0x10000000 on: the table at 0x10000000 is not in memory",
        ),
        (
            device().stage1(DEVICE, shaped(shape(12, 48, 2))),
            "stream 0x28, Stage1: no table has this shape: Geometry { granule_log2: 12, input_bits: 48, start_level: 2, lpa2: false }",
        ),
        (
            device()
                .part(small)
                .stage1(DEVICE, map(0, 0x4000).in_shape(Geometry::stage1(14, 40))),
            "stream 0x28: the CD is illegal: ",
        ),
        (
            device().memory(Pa::new(0x4000_0800), 1 << 20),
            "region 0x40000800+0x100000: base and size must be non-zero multiples of 4 KiB",
        ),
    ];
    for (builder, message) in cases {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    for (granule_log2, input_bits) in [(0, 0), (3, 48), (12, 0), (12, 64), (63, 63), (16, 1)] {
        let odd = device().stage1(DEVICE, shaped(Geometry::stage1(granule_log2, input_bits)));
        let error = odd.build().unwrap_err();
        let BuildError::Map { source, .. } = error else {
            panic!("{error}");
        };
        assert!(matches!(source, MapError::Geometry(_)), "{source}");
    }
}

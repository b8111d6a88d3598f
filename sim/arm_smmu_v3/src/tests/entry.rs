//! P111 and P112: changing an entry that hardware may be reading.

use iommu_core::{IommuOps, Kernel, Semantics};
use proptest::prelude::*;
use smmu::addr::Pa;
use smmu::ids::Vmid;
use smmu::spec::ste::SteDw2;
use smmu::{Outcome, config::SmmuConfig};

use super::platform::{Done, Machine, RAM, Watch};
use super::{S0, add_device, add_domain, driver, map, part, sid};
use crate::entry::{Entry, Update, write_entry};
use crate::platform::Platform;
use crate::probe::Features;
use crate::ste::{
    Eats, Stage1Entry, Stage2Entry, Stalls, SteKind, abort_ste, bypass_ste, cdtable_ste,
    nested_ste, stage2_ste,
};
use crate::{Command, Params};

/// What hardware makes of an STE, by masks typed from IHI 0070 §5.2: nothing of it is shared with
/// the driver. EATS and MEV are told apart, since they may change on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Invalid,
    Valid { words: [u64; 4], eats: u64 },
}

fn seen(ste: &Entry) -> Seen {
    if ste[0] & 1 == 0 {
        return Seen::Invalid;
    }
    let config = ste[0] >> 1 & 7;
    let mut masks = [0xf, 0, 0, 0];
    if config & 5 == 5 {
        masks[0] = !(0x7 << 56);
        // S1DSS, S1CIR, S1COR, S1CSH, S1STALLD, STRW.
        masks[1] |= 0xff | 1 << 27 | 3 << 30;
        masks[2] |= 0xffff;
    }
    if config & 6 == 6 {
        // S2FWB, SHCFG.
        masks[1] |= 1 << 25 | 3 << 44;
        // VMID, VTCR, S2AA64, S2ENDI, S2PTW, S2S, S2R.
        masks[2] |= 0xffff | 0x7_ffff << 32 | 1 << 51 | 1 << 52 | 1 << 54 | 1 << 57 | 1 << 58;
        masks[3] |= 0xf_ffff_ffff_fff0;
    }
    if config == 4 {
        masks[1] |= 3 << 44;
    }
    let mut words = [0; 4];
    for (word, (value, mask)) in words.iter_mut().zip(ste.iter().zip(masks)) {
        *word = value & mask;
    }
    let eats = if config & 3 != 0 {
        ste[1] & (3 << 28)
    } else {
        0
    };
    Seen::Valid { words, eats }
}

fn features(part: &SmmuConfig) -> Features {
    let mut machine = Machine::new(Semantics::kernel(Kernel::V7_2), std::slice::from_ref(part));
    Features::read(&mut machine, S0, &Params::default()).unwrap()
}

fn stage1() -> impl Strategy<Value = Stage1Entry> {
    (0u64..4, 0u8..2).prop_map(|(table, s1cdmax)| Stage1Entry {
        context_ptr: Pa::new(RAM + (table << 16)),
        s1fmt: 0,
        s1cdmax,
    })
}

fn stage2() -> impl Strategy<Value = Stage2Entry> {
    (0u64..2, 1u16..3, any::<bool>()).prop_map(|(table, vmid, fwb)| Stage2Entry {
        vmid: Vmid::new(vmid),
        vtcr: SteDw2::new().with_s2t0sz(20).with_s2sl0(2).with_s2or0(1),
        ttb: Pa::new(RAM + (table << 20)),
        fwb,
    })
}

fn eats() -> impl Strategy<Value = Eats> {
    prop::sample::select(vec![Eats::Abort, Eats::Trans])
}

/// Every entry the driver makes.
fn targets() -> impl Strategy<Value = Entry> {
    let features = features(&SmmuConfig::full());
    let (f1, f2, f3, f4) = (
        features.clone(),
        features.clone(),
        features.clone(),
        features,
    );
    prop_oneof![
        Just(abort_ste()),
        Just(bypass_ste(&f1)),
        Just([0; 8]),
        (stage1(), eats()).prop_map(move |(s1, eats)| cdtable_ste(&f2, &s1, eats, Stalls::Off)),
        (stage2(), eats()).prop_map(move |(s2, eats)| stage2_ste(&f3, &s2, eats)),
        (stage1(), stage2(), eats())
            .prop_map(move |(s1, s2, eats)| nested_ste(&f4, &s1, &s2, eats)),
    ]
}

/// An entry to start from: one of the driver's, with anything in bits nobody looks at.
fn currents() -> impl Strategy<Value = Entry> {
    prop_oneof![
        targets(),
        (targets(), any::<[u64; 8]>()).prop_map(|(mut entry, noise)| {
            if entry[0] & 1 == 0 {
                let mut entry = noise;
                entry[0] &= !1;
                return entry;
            }
            // Bypass and abort leave most of it unused.
            if entry[0] & 0xe == 8 || entry[0] & 0xe == 0 {
                entry[2] = noise[2];
                entry[3] = noise[3];
            }
            entry
        }),
    ]
}

fn kinds() -> impl Strategy<Value = SteKind> {
    prop::sample::select(vec![SteKind::Strict, SteKind::SafeBits])
}

const STE: Pa = Pa::new(RAM + 0x1000);

/// Runs the writer and returns what happened, with a marker at each synchronisation.
fn run(current: &Entry, target: &Entry, kind: SteKind) -> (Update, Vec<Option<(u64, u64)>>, Entry) {
    let mut machine = Machine::new(Semantics::kernel(Kernel::V7_2), &[part()]);
    machine.write_words(STE, current);
    machine.done.clear();
    let update = write_entry(&mut machine, STE, target, &kind, |machine| {
        machine.issued(S0, Command::Sync { msi: None });
    });
    let steps = machine
        .done
        .iter()
        .map(|done| match done {
            Done::Store(at, value) => Some((at - STE.get(), *value)),
            _ => None,
        })
        .collect();
    (update, steps, machine.entry(STE))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // linux-iommu.md P111, P112, 4.5.
    #[test]
    fn p111_p112_hardware_sees_the_old_the_new_or_an_invalid_entry(
        current in currents(), target in targets(), kind in kinds(),
    ) {
        let (update, steps, end) = run(&current, &target, kind);
        prop_assert_eq!(end, target);
        let (old, new) = (seen(&current), seen(&target));
        let relaxed = |a: Seen, b: Seen| match (a, b) {
            // 7.2 lets EATS change at any time.
            (Seen::Valid { words: a, .. }, Seen::Valid { words: b, .. })
                if kind == SteKind::SafeBits => a == b,
            _ => a == b,
        };
        let mut entry = current;
        let mut unsynced = false;
        let mut window = false;
        for step in &steps {
            let Some((offset, value)) = step else {
                unsynced = false;
                continue;
            };
            let before = seen(&entry);
            entry[*offset as usize / 8] = *value;
            let now = seen(&entry);
            prop_assert!(
                relaxed(now, old) || relaxed(now, new) || now == Seen::Invalid,
                "{:?} of {:?} to {:?}", now, old, new
            );
            if before != now && !relaxed(before, now) {
                prop_assert!(!unsynced, "a decisive store follows stores not yet synchronised");
            }
            window |= now == Seen::Invalid;
            unsynced = true;
        }
        prop_assert!(!unsynced, "the last group is not synchronised");
        // P112: one critical doubleword, no window.
        if update == Update::Hitless && current[0] & 1 == 1 && target[0] & 1 == 1 {
            prop_assert!(!window);
        }
        prop_assert_eq!(update == Update::Disruptive,
            steps.iter().flatten().next() == Some(&(0, 0)) && steps.len() > 2
            && window && target[0] & 1 == 1, "{:?}", steps);
    }
}

// linux-iommu.md 4.5, worked examples.
#[test]
fn p112_the_worked_examples_are_hitless_or_not() {
    let features = features(&SmmuConfig {
        attr_types_ovr: false,
        ..part()
    });
    let s1 = |table: u64| Stage1Entry {
        context_ptr: Pa::new(RAM + table),
        s1fmt: 0,
        s1cdmax: 0,
    };
    let s2 = Stage2Entry {
        vmid: Vmid::new(3),
        vtcr: SteDw2::new().with_s2t0sz(20).with_s2sl0(2),
        ttb: Pa::new(RAM + 0x10_0000),
        fwb: false,
    };
    let stage2 = stage2_ste(&features, &s2, Eats::Abort);
    let nested = |table| nested_ste(&features, &s1(table), &s2, Eats::Abort);
    let mut other_dss = nested(0x4000);
    other_dss[1] ^= 2;
    let stage1 = cdtable_ste(&features, &s1(0), Eats::Abort, Stalls::Off);
    for (what, from, to, update) in [
        ("abort to stage 2", abort_ste(), stage2, Update::Hitless),
        (
            "bypass to stage 2",
            bypass_ste(&features),
            stage2,
            Update::Hitless,
        ),
        ("stage 2 to nested", stage2, nested(0), Update::Hitless),
        ("nested to stage 2", nested(0), stage2, Update::Hitless),
        ("another table", nested(0), nested(0x4000), Update::Hitless),
        (
            "another table and S1DSS",
            nested(0),
            other_dss,
            Update::Disruptive,
        ),
        ("stage 1 to stage 2", stage1, stage2, Update::Disruptive),
        ("stage 1 to abort", stage1, abort_ste(), Update::Hitless),
        ("nothing", stage1, stage1, Update::Unused),
    ] {
        assert_eq!(run(&from, &to, SteKind::SafeBits).0, update, "{what}");
    }
}

// linux-iommu.md P111 with the device model as the reader: whichever domains a device changes
// between, a DMA in the middle reaches the old page, the new page or nothing.
#[test]
fn p111_dma_during_a_change_reaches_the_old_the_new_or_nothing() {
    for kernel in [Kernel::V6_12, Kernel::V7_2] {
        let mut driver = driver(Semantics::kernel(kernel));
        let device = add_device(&mut driver, 1);
        let pages = [0x1_0000_0000, 0x1_0000_1000];
        let stage1 = add_domain(&mut driver, 1, device);
        map(&mut driver, stage1, 0x5000, pages[0], 1);
        driver.attach_dev(stage1, device, None).unwrap();
        let parent = iommu_core::DomainId(2);
        driver.domain_alloc_nest_parent(parent, device).unwrap();
        map(&mut driver, parent, 0x5000, pages[1], 1);
        let ste = driver.ste_pa(S0, sid(1)).unwrap();
        for (from, to, reach) in [
            (stage1, parent, pages),
            (parent, stage1, [pages[1], pages[0]]),
        ] {
            driver.platform_mut().watch = Some(Watch {
                ste,
                stream: sid(1),
                iova: 0x5008,
                seen: Vec::new(),
            });
            driver.attach_dev(to, device, Some(from)).unwrap();
            let watch = driver.platform_mut().watch.take().unwrap();
            assert!(watch.seen.len() > 2);
            for (_, outcome) in &watch.seen {
                match outcome {
                    Outcome::Translated(to) => assert!(reach.contains(&(to.pa.get() - 8))),
                    Outcome::Terminated { event, .. } => {
                        assert_eq!(event.unwrap().words()[0] & 0xff, 0x04, "C_BAD_STE");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

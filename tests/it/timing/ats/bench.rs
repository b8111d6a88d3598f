//! Three streams with a few pages each and an event queue, what can happen to them, and how it is
//! played in time.

use proptest::prelude::*;
use smmu::addr::{Iova, Pa};
use smmu::config::{Httu, SmmuConfig};
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem, Ram};
use smmu::observe::{Access, Observer, Structure};
use smmu::regfile::{Width, register_offset};
use smmu::timing::{Arrival, Completed, Machine, Operation, Report, Workload};
use smmu::transaction::{AccessKind, Outcome};
use smmu::{Smmu, Transaction};
use smmu_sim::simulate::settings::RunSettings;
use smmu_sim::workload::world::{FIRST_IOVA, World};

pub(super) const STREAMS: u32 = 3;
pub(super) const PAGES: u64 = 5;
pub(super) const EVENTS: (u64, u64) = (0x9000_0000, 8);

pub(super) const TLBI_NSNH_ALL: u64 = 0x30;
pub(super) const CFGI_STE: u64 = 0x03;
pub(super) const ATC_INV: u64 = 0x40;
pub(super) const SYNC: u64 = 0x46;
/// Size of CMD_ATC_INV that is everything (IHI 0070 §4.5.1).
pub(super) const EVERYTHING: u64 = 52;

pub(super) fn register(name: &str) -> u32 {
    register_offset(name).unwrap()
}

/// Three streams with some pages each, and where their descriptors are.
pub(super) struct Bench {
    pub(super) ram: Ram,
    pub(super) smmu: Smmu,
    stes: u64,
    leaves: Vec<Vec<(Pa, u64)>>,
}

/// The last descriptor of the first stage that translates.
#[derive(Default)]
struct Leaf(Option<(Pa, bool)>);

impl Observer for Leaf {
    fn access(&mut self, access: &Access<'_>) {
        match (access.structure, self.0) {
            (Structure::Stage1(_), _) => self.0 = Some((access.pa, true)),
            (Structure::Stage2(_), None | Some((_, false))) => self.0 = Some((access.pa, false)),
            _ => {}
        }
    }
}

/// Whether hardware updates descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Updates {
    No,
    Yes,
}

/// The same SMMU as a part that updates descriptors, and streams that have it do so: CD.{HA, HD} of
/// stage 1, STE.{S2HA, S2HD} of stage 2.
fn updating(smmu: &Smmu, ram: &Ram, stes: u64) -> Smmu {
    let config = SmmuConfig {
        httu: Httu::Dirty,
        ..smmu.config().clone()
    };
    let mut other = Smmu::new(config).unwrap();
    for (name, width) in [
        ("STRTAB_BASE", Width::W64),
        ("STRTAB_BASE_CFG", Width::W32),
        ("CR0", Width::W32),
    ] {
        let value = smmu.mmio_read(register(name), width);
        other.mmio_write(register(name), width, value);
    }
    let mut port = ram.port();
    let mut set = |at: u64, bits: u64| {
        let word = port.read64(Pa::new(at), AccessClass::Stage1).unwrap();
        let pa = Pa::new(at);
        port.write64(pa, word | bits, AccessClass::Stage1).unwrap();
        word
    };
    for stream in 0..u64::from(STREAMS) {
        let ste = stes + stream * 64;
        let first = set(ste, 0);
        // A nested stream's CD is in its guest's memory, whose place is the world's affair.
        if first >> 1 & 7 == 0b101 {
            set(first & 0x000f_ffff_ffff_ffc0, 3 << 42);
        }
        set(ste + 16, 3 << 55);
    }
    other
}

pub(super) fn bench(settings: &RunSettings, updates: Updates) -> Bench {
    let ram = Ram::sparse();
    let (mut world, mut smmu) = World::new(&ram, &settings.world()).unwrap();
    let mut port = ram.port();
    let leaves = (0..STREAMS).map(|stream| {
        (0..PAGES)
            .map(|page| {
                let iova = FIRST_IOVA + (page << 12);
                world.map(stream, iova).unwrap();
                let transaction = Transaction::read(StreamId::new(stream), Iova::new(iova));
                let mut leaf = Leaf::default();
                smmu.translate_cold(&mut port, &transaction, &mut leaf);
                let (pa, _) = leaf.0.unwrap();
                (pa, port.read64(pa, AccessClass::Stage1).unwrap())
            })
            .collect()
    });
    let leaves = leaves.collect();
    let stes = smmu.mmio_read(register("STRTAB_BASE"), Width::W64) & 0x000f_ffff_ffff_ffc0;
    if updates == Updates::Yes {
        smmu = updating(&smmu, &ram, stes);
    }
    let (base, log2) = EVENTS;
    smmu.mmio_write(register("EVENTQ_BASE"), Width::W64, base | log2);
    let enabled = smmu.mmio_read(register("CR0"), Width::W32) | 1 << 2;
    smmu.mmio_write(register("CR0"), Width::W32, enabled);
    Bench {
        ram,
        smmu,
        stes,
        leaves,
    }
}

impl Bench {
    /// The leaf descriptors as they are now.
    pub(super) fn descriptors(&self) -> Vec<u64> {
        let mut port = self.ram.port();
        let places = self.leaves.iter().flatten();
        places
            .map(|(pa, _)| port.read64(*pa, AccessClass::Stage1).unwrap())
            .collect()
    }

    /// The events written, as words.
    pub(super) fn events(&self, smmu: &Smmu) -> Vec<u64> {
        let prod = smmu.mmio_read(register("EVENTQ_PROD"), Width::W32);
        let mut port = self.ram.port();
        (0..prod * 4)
            .map(|word| Pa::new(EVENTS.0 + word * 8))
            .map(|pa| port.read64(pa, AccessClass::Stage1).unwrap())
            .collect()
    }
}

/// What happens on the bench.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Access {
        stream: u32,
        page: u64,
        write: bool,
    },
    /// A leaf descriptor becomes what `how` says.
    Page {
        stream: u32,
        page: u64,
        how: usize,
    },
    /// An STE's word 0 or 1 becomes what `how` says.
    Stream {
        stream: u32,
        how: usize,
    },
}

pub(super) fn act() -> impl Strategy<Value = Act> {
    let access =
        (0..STREAMS, 0..=PAGES, any::<bool>()).prop_map(|(stream, page, write)| Act::Access {
            stream,
            page,
            write,
        });
    let page = (0..STREAMS, 0..PAGES, 0usize..7).prop_map(|(stream, page, how)| Act::Page {
        stream,
        page,
        how,
    });
    let stream = (0..STREAMS, 0usize..6).prop_map(|(stream, how)| Act::Stream { stream, how });
    prop_oneof![12 => access, 4 => page, 1 => stream]
}

/// The act as operations. What changes is invalidated as a driver does it: the SMMU's caches, then
/// the device's.
pub(super) fn operations(bench: &Bench, acts: &[Act], transactions: &mut u64) -> Vec<Operation> {
    let port = &mut bench.ram.port();
    let mut operations = Vec::new();
    for act in acts {
        let stream = match *act {
            Act::Access {
                stream,
                page,
                write,
            } => {
                let kind = if write {
                    AccessKind::Write
                } else {
                    AccessKind::Read
                };
                let address = Iova::new(FIRST_IOVA + (page << 12) + 64 * *transactions % 4096);
                operations.push(Operation::Arrive(Arrival {
                    transaction: Transaction::new(StreamId::new(stream), address, kind),
                    bytes: 64,
                    not_before: 0,
                }));
                operations.push(Operation::AwaitTransaction(*transactions));
                *transactions += 1;
                continue;
            }
            Act::Page { stream, page, how } => {
                let (pa, leaf) = bench.leaves[stream as usize][page as usize];
                // Gone; read-only by either stage's bits; clean (DBM); never used; both; out of range;
                // as it was.
                let value = [
                    0,
                    leaf ^ 1 << 7,
                    leaf ^ 1 << 7 | 1 << 51,
                    leaf & !(1 << 10),
                    (leaf ^ 1 << 7 | 1 << 51) & !(1 << 10),
                    leaf | 0xf << 44,
                    leaf,
                ][how];
                operations.push(Operation::Store { pa, value });
                stream
            }
            Act::Stream { stream, how } => {
                let at = Pa::new(bench.stes + u64::from(stream) * 64);
                let mut word =
                    |place: u64| port.read64(at.add(place * 8), AccessClass::Stage1).unwrap();
                let (first, second) = (word(0), word(1));
                let eats = second & !(3 << 28);
                let (place, value) = [
                    (1, eats),
                    (1, eats | 1 << 28),
                    (0, first & !1),
                    (0, first & !(7 << 1)),
                    (0, first),
                    (1, second),
                ][how];
                let pa = at.add(place * 8);
                operations.push(Operation::Store { pa, value });
                stream
            }
        };
        for command in [
            [CFGI_STE | u64::from(stream) << 32, 1],
            [TLBI_NSNH_ALL, 0],
            [SYNC, 0],
            [ATC_INV | u64::from(stream) << 32, EVERYTHING],
            [SYNC, 0],
        ] {
            operations.push(Operation::Command(command));
        }
        operations.push(Operation::AwaitCommands);
    }
    operations
}

/// Notes outcomes and times.
pub(super) struct Noting {
    operations: std::vec::IntoIter<Operation>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) times: Vec<u64>,
}

impl Workload for Noting {
    fn next_operation(&mut self) -> Option<Operation> {
        self.operations.next()
    }

    fn completed(&mut self, completed: &Completed<'_>) {
        self.outcomes.push(*completed.outcome);
        self.times.push(completed.time);
    }
}

pub(super) fn in_time(
    bench: &Bench,
    settings: &RunSettings,
    operations: Vec<Operation>,
) -> (Noting, Report, Vec<u64>) {
    let mut noting = Noting {
        operations: operations.into_iter(),
        outcomes: Vec::new(),
        times: Vec::new(),
    };
    let smmu = bench.smmu.clone();
    let mut machine = Machine::new(smmu, bench.ram.port(), &settings.timing).unwrap();
    machine.run(&mut noting);
    let events = bench.events(machine.smmu());
    (noting, machine.report(), events)
}

//! P43: two threads and one container.
//!
//! The kernel takes the container's mutex for the whole of SET_PASID_TABLE but its first copy, of
//! the header, which decides nothing about the container. Here that mutex is
//! whatever lets two threads share a [`Vfio`]: [`Vfio::ioctl`] takes `&mut self`, a `Vfio` has no
//! interior mutability (it is `Clone + PartialEq` down to its last field, which a lock or an atomic
//! is not), so a second thread has no path to it while one is in an ioctl. Atomicity is therefore
//! the type system's to prove. What a type cannot say is shown here: that an ioctl lets others run
//! while it copies from user memory, as a copy may sleep, and does not let go of the container
//! meanwhile; and that what the second thread then does comes out as if it had come afterwards.

use std::panic::RefUnwindSafe;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, TryLockError};
use std::thread;

use iommu_core::{UserMemory, UserPtr};

use super::*;
use crate::api::pasid_table_bytes;
use crate::type1::SET;

/// A buffer whose owner stops at its `pause`-th copy until told to go on: the page has to come
/// from disk first.
struct SlowMemory {
    buffer: UserBuffer,
    copies: usize,
    pause: usize,
    arrived: SyncSender<()>,
    go_on: Receiver<()>,
}

impl UserMemory for SlowMemory {
    fn copy_from_user(&mut self, at: UserPtr, bytes: &mut [u8]) -> Result<(), Errno> {
        if self.copies == self.pause {
            self.arrived.send(()).unwrap();
            self.go_on.recv().unwrap();
        }
        self.copies += 1;
        self.buffer.copy_from_user(at, bytes)
    }

    fn copy_to_user(&mut self, at: UserPtr, bytes: &[u8]) -> Result<(), Errno> {
        self.buffer.copy_to_user(at, bytes)
    }
}

/// What the second thread does.
#[derive(Debug, Clone, Copy)]
enum Other {
    Map,
    Unmap,
    SetBypass,
    Unset,
}

const OTHERS: [Other; 4] = [Other::Map, Other::Unmap, Other::SetBypass, Other::Unset];
const TABLE: u64 = 0x8_0000;

#[derive(Debug, Clone, PartialEq)]
struct Shared {
    bench: Bench,
    container: i32,
    memory: u64,
}

impl Shared {
    /// Two domains and a mapping.
    fn new(semantics: Semantics) -> Self {
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Nesting, &[0, 1]);
        let memory = bench.memory(2);
        bench.map(container, 0x10_0000, memory, 1).unwrap();
        Self {
            bench,
            container,
            memory,
        }
    }

    fn run(&mut self, other: Other) -> Result<(), Errno> {
        let (container, vaddr) = (self.container, self.memory + PAGE);
        match other {
            Other::Map => self.bench.map(container, 0x20_0000, vaddr, 1),
            Other::Unmap => {
                let mut caller = self.bench.call();
                caller.unmap(container, 0x10_0000, PAGE).map(drop)
            }
            Other::SetBypass => self.bench.call().set_pasid_table(container, &bypass()),
            Other::Unset => self.bench.call().unset_pasid_table(container),
        }
    }

    fn set_bytes(&self) -> Vec<u8> {
        pasid_table_bytes(self.bench.io(), SET, Some(&translate(TABLE)))
    }

    fn set(&mut self, user: &mut impl UserMemory) -> Result<(), Errno> {
        let cmd = self.bench.numbers().set_pasid_table;
        let (pid, container) = (self.bench.pid, self.container);
        let vfio = &mut self.bench.vfio;
        vfio.ioctl(pid, container, cmd, UserBuffer::AT.0, user)
            .map(drop)
    }

    /// Tables of the domains, newest first.
    fn tables(&self) -> Vec<Option<u64>> {
        let domains = self.bench.domains(self.container);
        let table = |domain| self.bench.table_of(domain).0;
        domains.into_iter().map(table).collect()
    }
}

/// Copies from user memory that a SET makes of the machine: that many times others may run.
fn copies(shared: &Shared) -> usize {
    let (arrived, _nobody) = sync_channel(1);
    let (_never, go_on) = sync_channel(1);
    let mut memory = SlowMemory {
        buffer: UserBuffer::new(shared.set_bytes()),
        copies: 0,
        pause: usize::MAX,
        arrived,
        go_on,
    };
    let mut shared = shared.clone();
    shared.set(&mut memory).unwrap();
    memory.copies
}

/// SET on one thread, which pauses at its `pause`-th copy; `other` on a second one, which tries
/// then. What each returned, the tables the second found, and the machine afterwards.
fn meet(shared: Shared, pause: usize, other: Other) -> Meeting {
    let (arrived, arrival) = sync_channel(0);
    let (go, go_on) = sync_channel(0);
    let mut memory = SlowMemory {
        buffer: UserBuffer::new(shared.set_bytes()),
        copies: 0,
        pause,
        arrived,
        go_on,
    };
    let container = Mutex::new(shared);
    let (set, (found, result)) = thread::scope(|scope| {
        let first = scope.spawn(|| container.lock().unwrap().set(&mut memory));
        arrival.recv().unwrap();
        assert!(
            matches!(container.try_lock(), Err(TryLockError::WouldBlock)),
            "SET lets go of the container at copy {pause}"
        );
        go.send(()).unwrap();
        let mut shared = container.lock().unwrap();
        let second = (shared.tables(), shared.run(other));
        drop(shared);
        (first.join().unwrap(), second)
    });
    Meeting {
        set,
        found,
        result,
        after: container.into_inner().unwrap(),
    }
}

struct Meeting {
    set: Result<(), Errno>,
    found: Vec<Option<u64>>,
    result: Result<(), Errno>,
    after: Shared,
}

/// The same on one thread.
fn in_turn(mut shared: Shared, other: Other) -> Meeting {
    let mut memory = UserBuffer::new(shared.set_bytes());
    let set = shared.set(&mut memory);
    Meeting {
        set,
        found: shared.tables(),
        result: shared.run(other),
        after: shared,
    }
}

// linux-iommu.md P43, 1.2. Hardware is another matter: STEs change one by one (tests/it/unwind).
#[test]
fn p43_a_second_thread_waits_for_set_and_finds_all_of_it_or_none() {
    fn shareable<T: Clone + PartialEq + Send + Sync + RefUnwindSafe>(_: &T) {}
    for (name, semantics) in every_series() {
        let shared = Shared::new(semantics);
        shareable(&shared.bench.vfio);
        let copies = copies(&shared);
        assert!(copies >= 3, "{name}: {copies}");
        for pause in 0..copies {
            for other in OTHERS {
                let told = format!("{name}: {other:?} at copy {pause}");
                let met = meet(shared.clone(), pause, other);
                let turn = in_turn(shared.clone(), other);
                assert_eq!((met.set, met.result), (turn.set, turn.result), "{told}");
                assert_eq!(met.found, [Some(TABLE); 2], "{told}");
                assert!(met.after == turn.after, "{told}");
                // A SET that fails half-way has left nothing for the other to find.
                let mut failing = shared.clone();
                failing.bench.fail(FaultMode::NthOf {
                    name: "iommu:attach_pasid_table",
                    n: 1,
                    errno: None,
                });
                let met = meet(failing, pause, other);
                assert_eq!(met.set, Err(Errno::EINVAL), "{told}");
                assert_eq!(met.found, [None; 2], "{told}");
            }
        }
    }
}

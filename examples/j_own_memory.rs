//! Tenth: memory of one's own. Whoever implements `PhysMem` can put the model behind a machine.
//!
//! `cargo run --example j_own_memory`

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::collections::BTreeMap;

use smmu::mem::{AccessClass, BusResult};
use smmu_sim::prelude::*;

/// Words by address; counts what the SMMU reads, and why.
#[derive(Default)]
struct Counted {
    words: BTreeMap<u64, u64>,
    reads: BTreeMap<AccessClass, u64>,
}

impl PhysMem for Counted {
    fn read64(&mut self, pa: Pa, class: AccessClass) -> BusResult<u64> {
        *self.reads.entry(class).or_default() += 1;
        Ok(self.words.get(&(pa.get() & !7)).copied().unwrap_or(0))
    }

    fn write64(&mut self, pa: Pa, value: u64, _: AccessClass) -> BusResult<()> {
        self.words.insert(pa.get() & !7, value);
        Ok(())
    }

    fn compare_exchange64(
        &mut self,
        pa: Pa,
        old: u64,
        new: u64,
        class: AccessClass,
    ) -> BusResult<u64> {
        let found = self.read64(pa, class)?;
        let stored = if found == old { new } else { found };
        self.write64(pa, stored, class).map(|()| found)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (device, iova, ipa) = (StreamId::new(8), Iova::new(0x1000), Ipa::new(0x8000_0000));
    let guest = Mappings::new().map(iova, ipa, 0x2000, Allow::ReadWrite);
    let host = Mappings::new().map(ipa, Pa::new(0x6000_0000), 8 << 20, Allow::ReadWrite);
    let mut memory = Counted::default();
    let machine = BareMachine::builder().nested(device, guest, host);
    let mut smmu = machine.build_in(&mut memory)?;
    for offset in [0x678, 0x680, 0x1008] {
        memory.reads.clear();
        let read = Transaction::read(device, iova.add(offset));
        let outcome = smmu.translate(&mut memory, &read, &mut ());
        println!("{:?} by reading {:?}", outcome.pa(), memory.reads);
    }
    Ok(())
}

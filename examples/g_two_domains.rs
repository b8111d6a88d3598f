//! Seventh: Linux. Devices behind two SMMUs in one VFIO container: a domain each, one memory.
//!
//! `cargo run --example g_two_domains`

#![allow(clippy::print_stdout, reason = "an example talks")]

use smmu_sim::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let slot = |slot| PciAddress::new(0, slot, 0);
    let devices = [slot(5), slot(6), slot(7)];
    let mut machine = LinuxMachine::builder(Semantics::kernel(Kernel::V6_12))
        .device(devices[0], SmmuId(0))
        .device(devices[1], SmmuId(0))
        .device(devices[2], SmmuId(1))
        .build()?;
    let container = machine.open_container()?;
    let buffer = machine.allocate(0x4000)?;
    let iova = Iova::new(0x10_0000);
    for device in devices {
        machine.attach(device, container)?;
    }
    machine.map(container, iova, buffer, 0x4000)?;
    let open = machine.vfio.container(machine.pid, container.0);
    let backend = open.and_then(|open| open.type1()).ok_or("no backend")?;
    for (domain, groups) in backend.domains() {
        println!("{domain:?} has {groups:?}");
    }
    for device in devices {
        let ste = machine.ste(device).ok_or("no STE")?.dw0.config();
        let smmu = machine.place(device).smmu.0;
        let pa = machine.read(device, iova.add(0x2010)).pa();
        println!("{device} behind SMMU {smmu}: STE {ste:?}, DMA to {pa:?}");
    }
    println!("the page: {:?}", machine.frame(buffer + 0x2010));
    println!("pinned: {} pages", machine.vfio.host().pins().count());
    machine.unmap(container, iova, 0x4000)?;
    println!("unmapped: {:?}", machine.read(devices[2], iova).pa());
    Ok(())
}

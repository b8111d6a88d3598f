//! Eighth: SET_PASID_TABLE over two domains fails at the second, in the series as posted and fixed.
//!
//! `cargo run --example h_set_fails_half_way`

#![allow(clippy::print_stdout, reason = "an example talks")]

use smmu_sim::prelude::*;

/// Where the guest has its context descriptors.
const TABLE: u64 = 0x4000_1000;

/// What the STEs in memory say.
fn states(machine: &LinuxMachine, devices: [PciAddress; 2]) -> [String; 2] {
    let config = |device| machine.ste(device).map(|ste| ste.dw0.config());
    devices.map(|device| config(device).map_or("nothing".into(), |config| format!("{config:?}")))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let devices = [5, 6].map(|slot| PciAddress::new(0, slot, 0));
    for (name, semantics) in [
        ("v11 as posted", Semantics::as_posted(SeriesVfio::V11)),
        ("v13 as posted", Semantics::as_posted(SeriesVfio::V13)),
        ("fixed", Semantics::fixed()),
    ] {
        let mut machine = LinuxMachine::builder(semantics)
            .device(devices[0], SmmuId(0))
            .device(devices[1], SmmuId(1))
            .build()?;
        let container = machine.open_container()?;
        for device in devices {
            machine.attach(device, container)?;
        }
        for before in [PasidTableConfig::bypass(), PasidTableConfig::abort()] {
            let mut machine = machine.clone();
            machine.set_pasid_table(container, &before)?;
            println!("{name}, {}", states(&machine, devices).join(" and "));

            // The guest enables its table; at the second domain the driver refuses.
            machine.fail(FaultMode::NthOf {
                name: "iommu:attach_pasid_table",
                n: 1,
                errno: None,
            });
            let result = machine.set_pasid_table(container, &PasidTableConfig::translate(TABLE));
            let left = states(&machine, devices).join(" and ");
            println!("  {result:?} leaves {left}");
        }
    }
    Ok(())
}

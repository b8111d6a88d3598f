//! Sixth: a driver's view. Registers by MMIO, structures by stores, commands by the queue.
//!
//! `cargo run --example f_driver`

#![allow(clippy::print_stdout, reason = "an example talks")]

use smmu_sim::prelude::*;

struct Driver {
    hardware: BareMachine,
}

impl Driver {
    fn read(&self, name: &str, width: Width) -> u64 {
        let offset = register_offset(name).expect("a register of the part");
        self.hardware.smmu.mmio_read(offset, width)
    }

    /// Puts a command into the queue, rings the doorbell and waits until it is consumed.
    fn issue(&mut self, command: [u64; 2]) -> Result<(), Box<dyn std::error::Error>> {
        let base = self.read("CMDQ_BASE", Width::W64);
        let entries = 1 << (base & 0x1f);
        let prod = self.read("CMDQ_PROD", Width::W32);
        let slot = Pa::new((base & 0x00ff_ffff_ffff_ffe0) + prod % entries * 16);
        self.hardware.store(slot, command[0])?;
        self.hardware.store(slot.add(8), command[1])?;
        let (doorbell, next) = (register_offset("CMDQ_PROD"), (prod + 1) % (2 * entries));
        let smmu = &mut self.hardware.smmu;
        smmu.mmio_write(doorbell.ok_or("no CMDQ_PROD")?, Width::W32, next);
        // Hardware works when it is let: until it idles, or so many commands are consumed.
        smmu.run_until_idle(&mut self.hardware.ram.port(), &mut (), 16);
        let consumed = self.read("CMDQ_CONS", Width::W32) == next;
        println!("  command {:#04x} consumed: {consumed}", command[0] & 0xff);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = StreamId::new(5);
    let hardware = BareMachine::builder().bypass(device).build()?;
    let mut driver = Driver { hardware };
    println!("IDR0 {:#010x}", driver.read("IDR0", Width::W32));
    println!("CR0ACK {:#06b}", driver.read("CR0ACK", Width::W32));

    let dma = |driver: &mut Driver| driver.hardware.read(device, Iova::new(0x1234)).pa();
    println!("bypass: {:?}", dma(&mut driver));
    // V=1, Config=0b000: abort. The STE is the sixth of a linear table.
    let ste = Pa::new(driver.read("STRTAB_BASE", Width::W64) & 0x000f_ffff_ffff_ffc0).add(5 * 64);
    driver.hardware.store(ste, 1)?;
    println!("abort, and nobody told: {:?}", dma(&mut driver));
    driver.issue([5 << 32 | 0x03, 1])?; // CMD_CFGI_STE, leaf
    driver.issue([0x46, 0])?; // CMD_SYNC
    println!("abort: {:?}", dma(&mut driver));
    Ok(())
}

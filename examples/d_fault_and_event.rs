//! Fourth: faults are values, and each leaves a record of 32 bytes in the event queue.
//!
//! `cargo run --example d_fault_and_event`

#![allow(clippy::print_stdout, reason = "an example talks")]

use smmu_sim::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (host, guest, stranger) = (StreamId::new(1), StreamId::new(2), StreamId::new(3));
    let read_only =
        Mappings::new().map(Iova::new(0x1000), Pa::new(0x5000_0000), 0x1000, Allow::Read);
    let lost = Mappings::new().map(
        Iova::new(0x1000),
        Ipa::new(0x9000_0000),
        0x1000,
        Allow::Read,
    );
    let mut machine = BareMachine::builder()
        .stage1(host, read_only)
        .nested(guest, lost, Mappings::new())
        .build()?;

    let transactions = [
        Transaction::read(host, Iova::new(0x1000)),
        Transaction::write(host, Iova::new(0x1000)),
        Transaction::read(host, Iova::new(0x2000)),
        Transaction::read(guest, Iova::new(0x1abc)),
        Transaction::read(stranger, Iova::new(0x1000)),
    ];
    for transaction in &transactions {
        let outcome = machine.translate(transaction);
        let Transaction {
            stream,
            kind,
            address,
            ..
        } = transaction;
        match outcome.fault() {
            Some(fault) => println!("stream {stream} {kind:?} {address}: {:?}", fault.cause),
            None => println!("stream {stream} {kind:?} {address}: {:?}", outcome.pa()),
        }
    }
    println!("\nin the event queue:");
    for event in machine.take_events() {
        let words = event.words().map(|word| format!("{word:016x}")).join(" ");
        println!("  {:?}: {words}", event.dw0.r#type());
    }
    Ok(())
}

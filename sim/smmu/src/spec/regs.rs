//! Registers (IHI 0070 §6.3). Native integers: they have no memory image.

mod atos;
mod control;
mod id;
mod interrupts;
mod queues;

pub use atos::*;
pub use control::*;
pub use id::*;
pub use interrupts::*;
pub use queues::*;

use super::Layout;

/// Every register layout.
pub const LAYOUTS: &[&Layout] = &[
    &Idr0::LAYOUT,
    &Idr1::LAYOUT,
    &Idr2::LAYOUT,
    &Idr3::LAYOUT,
    &Idr5::LAYOUT,
    &Idr6::LAYOUT,
    &Iidr::LAYOUT,
    &Aidr::LAYOUT,
    &Cr0::LAYOUT,
    &Cr1::LAYOUT,
    &Cr2::LAYOUT,
    &Statusr::LAYOUT,
    &Gbpa::LAYOUT,
    &IrqCtrl::LAYOUT,
    &Gerror::LAYOUT,
    &StrtabBase::LAYOUT,
    &StrtabBaseCfg::LAYOUT,
    &CmdqBase::LAYOUT,
    &CmdqProd::LAYOUT,
    &CmdqCons::LAYOUT,
    &EventqBase::LAYOUT,
    &EventqProd::LAYOUT,
    &EventqCons::LAYOUT,
    &IrqCfg0::LAYOUT,
    &IrqCfg1::LAYOUT,
    &IrqCfg2::LAYOUT,
    &PriqIrqCfg2::LAYOUT,
    &GatosCtrl::LAYOUT,
    &GatosSid::LAYOUT,
    &GatosAddr::LAYOUT,
    &GatosPar::LAYOUT,
    &GatosParFault::LAYOUT,
    &VatosSel::LAYOUT,
];

//! Offsets of the registers the driver uses, in bytes from the base of page 0.

pub(crate) const IDR0: u32 = 0x0;
pub(crate) const IDR1: u32 = 0x4;
pub(crate) const IDR3: u32 = 0xc;
pub(crate) const IDR5: u32 = 0x14;
pub(crate) const CR0: u32 = 0x20;
pub(crate) const CR0ACK: u32 = 0x24;
pub(crate) const CR1: u32 = 0x28;
pub(crate) const CR2: u32 = 0x2c;
pub(crate) const GBPA: u32 = 0x44;
pub(crate) const IRQ_CTRL: u32 = 0x50;
pub(crate) const IRQ_CTRLACK: u32 = 0x54;
pub(crate) const GERROR: u32 = 0x60;
pub(crate) const GERRORN: u32 = 0x64;
pub(crate) const GERROR_IRQ_CFG0: u32 = 0x68;
pub(crate) const STRTAB_BASE: u32 = 0x80;
pub(crate) const STRTAB_BASE_CFG: u32 = 0x88;
pub(crate) const CMDQ_BASE: u32 = 0x90;
pub(crate) const CMDQ_PROD: u32 = 0x98;
pub(crate) const CMDQ_CONS: u32 = 0x9c;
pub(crate) const EVTQ_BASE: u32 = 0xa0;
pub(crate) const EVTQ_IRQ_CFG0: u32 = 0xb0;
pub(crate) const PRIQ_BASE: u32 = 0xc0;
pub(crate) const PRIQ_IRQ_CFG0: u32 = 0xd0;
pub(crate) const EVTQ_PROD: u32 = 0x100a8;
pub(crate) const EVTQ_CONS: u32 = 0x100ac;
pub(crate) const PRIQ_PROD: u32 = 0x100c8;
pub(crate) const PRIQ_CONS: u32 = 0x100cc;

#[cfg(test)]
mod tests {
    use super::*;
    use smmu::regfile::register_offset;

    // IHI 0070 §6.2.
    #[test]
    fn offsets_are_those_of_the_device() {
        for (name, offset) in [
            ("IDR0", IDR0),
            ("IDR1", IDR1),
            ("IDR3", IDR3),
            ("IDR5", IDR5),
            ("CR0", CR0),
            ("CR0ACK", CR0ACK),
            ("CR1", CR1),
            ("CR2", CR2),
            ("GBPA", GBPA),
            ("IRQ_CTRL", IRQ_CTRL),
            ("IRQ_CTRLACK", IRQ_CTRLACK),
            ("GERROR", GERROR),
            ("GERRORN", GERRORN),
            ("GERROR_IRQ_CFG0", GERROR_IRQ_CFG0),
            ("STRTAB_BASE", STRTAB_BASE),
            ("STRTAB_BASE_CFG", STRTAB_BASE_CFG),
            ("CMDQ_BASE", CMDQ_BASE),
            ("CMDQ_PROD", CMDQ_PROD),
            ("CMDQ_CONS", CMDQ_CONS),
            ("EVENTQ_BASE", EVTQ_BASE),
            ("EVENTQ_IRQ_CFG0", EVTQ_IRQ_CFG0),
            ("PRIQ_BASE", PRIQ_BASE),
            ("PRIQ_IRQ_CFG0", PRIQ_IRQ_CFG0),
            ("EVENTQ_PROD", EVTQ_PROD),
            ("EVENTQ_CONS", EVTQ_CONS),
            ("PRIQ_PROD", PRIQ_PROD),
            ("PRIQ_CONS", PRIQ_CONS),
        ] {
            assert_eq!(register_offset(name), Some(offset), "{name}");
        }
    }
}

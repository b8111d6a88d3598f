//! What a [`Driver`] writes for a stream: STE and CDs, bit by bit.

use super::driver::{Driver, Plan, Regime};
use super::shapes::mix;
use crate::support::bench::*;

const CD_TABLES: u64 = 0x3000_0000;

impl Driver {
    /// Writes STE and CDs of a stream as its plan says.
    pub(super) fn write_stream(&mut self, stream: u64) {
        let cds = CD_TABLES + 0x1000 * stream;
        let mut ste = Words::default();
        let fixed = |n| mix(self.fixed, 600 + 100 * stream + n);
        ste.bit(0, 1).set(109, 108, 1);
        // Half of the streams leave transactions as they are.
        if fixed(0) & 1 != 0 {
            ste.set(99, 96, fixed(1) & 0xf)
                .bit(100, fixed(2) & 1)
                .set(104, 101, fixed(3) & 0xf)
                .set(109, 108, fixed(4) & 3)
                .set(113, 112, fixed(5) & 3)
                .set(115, 114, fixed(6) & 3);
        }
        if !fixed(7).is_multiple_of(4) {
            // ATS.
            ste.set(93, 92, 1);
        }
        match self.plans[stream as usize] {
            Plan::Invalid => {
                ste.bit(0, 0);
            }
            Plan::Abort => {}
            Plan::Bypass => {
                ste.set(3, 1, 0b100);
            }
            Plan::Stage1(space, context) => {
                self.with_stage1(&mut ste, space, cds);
                self.bench.write_words(cds, self.cd(space, context));
            }
            Plan::Stage2(space) => {
                ste.set(3, 1, 0b110);
                self.with_stage2(&mut ste, space);
            }
            Plan::Substreams(space, contexts) => {
                self.with_stage1(&mut ste, space, cds);
                ste.set(63, 59, 2).set(65, 64, 2);
                for (context, n) in contexts.into_iter().zip(0..) {
                    self.bench
                        .write_words(cds + 64 * n, self.cd(space, context));
                }
            }
        }
        self.bench.write_words(STRTAB + 64 * stream, ste);
    }

    fn with_stage1(&self, ste: &mut Words, space: usize, cds: u64) {
        ste.address(55, 6, cds);
        match self.spaces[space].regime {
            Regime::Alone => {
                let vmid = self.spaces[space].vmid;
                ste.set(3, 1, 0b101).set(143, 128, vmid);
            }
            Regime::Guest => {
                ste.set(3, 1, 0b111);
                self.with_stage2(ste, space);
            }
            Regime::Hypervisor => {
                ste.set(3, 1, 0b101).set(95, 94, 2);
            }
        }
    }

    fn with_stage2(&self, ste: &mut Words, space: usize) {
        let of = &self.spaces[space];
        let (tg, sl0) = match of.stage2_granule {
            12 => (0, 1),
            14 => (2, 2),
            _ => (1, 1),
        };
        let updates = u64::from(self.updates);
        let rarely = |n| u64::from(mix(self.fixed, 400 + of.vmid * 10 + n).is_multiple_of(3));
        ste.bit(89, rarely(0))
            .bit(181, u64::from(self.affd) & rarely(1))
            .bit(182, rarely(2))
            .set(143, 128, of.vmid)
            .set(165, 160, 25)
            .set(167, 166, sl0)
            .set(175, 174, tg)
            .set(178, 176, 5)
            .bit(179, 1)
            .bit(183, updates)
            .bit(184, updates)
            .bit(186, 1)
            .address(243, 196, of.stage2);
    }

    fn cd(&self, space: usize, context: usize) -> Words {
        let of = &self.spaces[space];
        let (tg0, tg1) = match of.granule {
            12 => (0, 2),
            14 => (2, 1),
            _ => (1, 3),
        };
        let one_range = of.regime == Regime::Hypervisor && !self.e2h;
        let updates = u64::from(self.updates);
        let rarely = |n| u64::from(mix(self.fixed, 500 + space as u64 * 20 + n).is_multiple_of(3));
        let mut cd = Words::default();
        // WXN, TBI0, TBI1, PAN, HAD0, E0PD0, EPAN, HAD1, E0PD1; ASET of each context.
        for (bit, n) in [35, 36, 38, 39, 40, 65, 66, 123, 129, 130]
            .into_iter()
            .zip(0..)
        {
            cd.bit(bit, rarely(n));
        }
        cd.bit(35, u64::from(self.affd) & rarely(14));
        cd.bit(47, rarely(15 + context as u64));
        cd.set(5, 0, 16)
            .set(7, 6, tg0)
            .set(21, 16, 16)
            .set(23, 22, tg1)
            .bit(30, one_range.into())
            .bit(31, 1)
            .set(34, 32, 5)
            .bit(41, 1)
            .bit(42, updates)
            .bit(43, updates)
            .bit(45, 1)
            .bit(46, 1)
            .set(63, 48, Self::asid(context))
            .address(115, 68, of.lower[context])
            .address(179, 132, of.upper)
            .set(223, 192, 0x0044_04ff);
        cd
    }
}

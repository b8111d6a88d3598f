//! What only the ratios ask of a machine: large ones, with caches, for many threads, and where each
//! access of a translation goes.

use smmu::addr::{Iova, Pa};
use smmu::cache::CacheConfig;
use smmu::mem::{AccessClass, PhysMem};
use smmu::observe::{Access, Observer};
use smmu::regfile::{Width, register_offset};
use smmu::shared::SharedSmmu;
use smmu::{Smmu, Transaction};

use crate::machine::{Machine, RAM_BASE, STREAM, Stages};

impl Machine {
    /// One page under stage 2, the upper half of 256 MiB free for a large stream table.
    pub(crate) fn roomy() -> Self {
        Self::new(Stages::Stage2, 1, 256 << 20, 1 << 30)
    }

    /// The middle of RAM; one page's tables do not reach it.
    pub(crate) fn upper_half(&self) -> u64 {
        RAM_BASE + (self.ram_end() - RAM_BASE) / 2
    }

    /// 64 Ki pages at random places of a 16 GiB guest, tables at random places of 1 GiB.
    pub(crate) fn large(stages: Stages) -> Self {
        Self::new(stages, 1 << 16, 1 << 30, 16 << 30)
    }

    /// The same device with empty caches.
    pub(crate) fn with_caches(&self, caches: &CacheConfig) -> Smmu {
        let mut smmu = Smmu::with_caches(self.smmu.config().clone(), caches).unwrap();
        for name in ["STRTAB_BASE", "STRTAB_BASE_CFG", "CR0"] {
            let offset = register_offset(name).unwrap();
            let width = if name == "STRTAB_BASE" {
                Width::W64
            } else {
                Width::W32
            };
            smmu.mmio_write(offset, width, self.smmu.mmio_read(offset, width));
        }
        smmu
    }

    /// The same device for many threads, its command queue running; stream 9 is a twin of
    /// [`STREAM`].
    pub(crate) fn shared(&self, caches: &CacheConfig) -> SharedSmmu {
        let shared = SharedSmmu::new(self.smmu.config().clone(), caches).unwrap();
        let base = self
            .smmu
            .mmio_read(register_offset("STRTAB_BASE").unwrap(), Width::W64);
        let mut port = self.ram.port();
        let ste = port
            .read_line(Pa::new(base + 64 * 8), AccessClass::Ste)
            .unwrap();
        for (word, offset) in ste.into_iter().zip((0..).step_by(8)) {
            let at = Pa::new(base + 64 * 9 + offset);
            port.write64(at, word, AccessClass::Ste).unwrap();
        }
        for (name, width, value) in [
            ("STRTAB_BASE", Width::W64, base),
            ("STRTAB_BASE_CFG", Width::W32, 4),
            ("CMDQ_BASE", Width::W64, self.queue() | 8),
            ("CR0", Width::W32, 1 | 1 << 3),
        ] {
            shared.mmio_write(register_offset(name).unwrap(), width, value);
        }
        shared
    }

    /// Memory that no table uses: the top 64 KiB.
    pub(crate) fn queue(&self) -> u64 {
        self.ram_end() - 0x1_0000
    }

    /// The first address behind RAM.
    pub(crate) fn ram_end(&self) -> u64 {
        let (base, bytes) = self.ram.regions().next().unwrap();
        base + bytes
    }

    /// Word index, within RAM, of every access that translating `input` makes.
    pub(crate) fn addresses(&self, input: u64, configured: bool) -> Vec<u64> {
        struct Addresses(Vec<u64>);
        impl Observer for Addresses {
            fn access(&mut self, access: &Access<'_>) {
                self.0.push((access.pa.get() - RAM_BASE) / 8);
            }
        }
        let mut seen = Addresses(Vec::new());
        let mut port = self.ram.port();
        let transaction = Transaction::read(STREAM, Iova::new(input));
        if configured {
            let configuration = self
                .smmu
                .configuration(&mut port, STREAM, None, &mut ())
                .unwrap();
            self.smmu
                .translate_configured(&configuration, &mut port, &transaction, &mut seen);
        } else {
            self.smmu.translate_cold(&mut port, &transaction, &mut seen);
        }
        seen.0
    }
}

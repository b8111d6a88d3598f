//! A virtio-style device on rust-vmm's `vm-memory`, its DMA through the SMMU: a ring of descriptors
//! and buffers at device addresses, tables in the same guest memory.

use std::sync::Arc;

use smmu::addr::Pa;
use smmu::cache::CacheConfig;
use smmu::config::SmmuConfig;
use smmu::ids::{Asid, StreamId};
use smmu::mem::{AccessClass, PhysMem};
use smmu::regfile::{Width, register_offset};
use smmu::shared::SharedSmmu;
use smmu::spec::attrs::Ps;
use smmu::tables::{Bump, CdBuilder, Geometry, LinearStreamTable, PageTable, Physical, SteBuilder};
use smmu::vm_memory::{GuestMemory, StreamIommu};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, IommuMemory};

const STREAM: StreamId = StreamId::new(3);
/// Where the driver maps the ring and two buffers for the device, and where they are.
const RING: (u64, u64) = (0xff_0000_0000, 0x20_0000);
const BUFFERS: [(u64, u64); 2] = [(0xff_1000_0000, 0x30_0000), (0xff_1000_1000, 0x28_0000)];
/// All of stage 1 readable and writable, not global.
const LEAF: u64 = 1 << 11 | 1 << 10 | 1 << 6;
const COMMANDS: u64 = 0x8_0000;

type Memory = GuestMemoryMmap<()>;

struct Machine {
    backend: Arc<Memory>,
    smmu: Arc<SharedSmmu>,
    table: PageTable,
    frames: Bump,
    commands: u32,
}

impl Machine {
    fn new() -> Self {
        let ranges = [(GuestAddress(0), 4 << 20)];
        let backend = Arc::new(Memory::from_ranges(&ranges).unwrap());
        let mut memory = GuestMemory::new(backend.clone());
        let mut frames = Bump::new(0x10_0000, 0x18_0000);
        let table = PageTable::new(Geometry::stage1(12, 48), &mut frames).unwrap();
        let streams = LinearStreamTable::new(4, &mut frames).unwrap();
        let cd = 0x9_0000;
        CdBuilder::new(&table, Ps::Bits44, Asid::new(1))
            .write(&mut memory, Pa::new(cd))
            .unwrap();
        let ste = SteBuilder::bypass().with_stage1(cd);
        streams.set(&mut memory, STREAM, &ste.0).unwrap();
        let smmu = SharedSmmu::new(SmmuConfig::qemu_11(), &CacheConfig::INFINITE).unwrap();
        for (name, width, value) in [
            ("STRTAB_BASE", Width::W64, streams.strtab_base()),
            (
                "STRTAB_BASE_CFG",
                Width::W32,
                streams.strtab_base_cfg().into(),
            ),
            ("CMDQ_BASE", Width::W64, COMMANDS | 8),
            ("CR0", Width::W32, 0b1001),
        ] {
            smmu.mmio_write(register_offset(name).unwrap(), width, value);
        }
        Self {
            backend,
            smmu: Arc::new(smmu),
            table,
            frames,
            commands: 0,
        }
    }

    fn map(&mut self, (iova, pa): (u64, u64)) {
        let mut physical = Physical(GuestMemory::new(self.backend.clone()));
        self.table
            .map(&mut physical, &mut self.frames, iova, pa, 12, LEAF)
            .unwrap();
    }

    /// Issues a command by its words and lets the SMMU consume it.
    fn command(&mut self, words: [u64; 2]) {
        let mut memory = GuestMemory::new(self.backend.clone());
        for (word, offset) in words.into_iter().zip([0, 8]) {
            let at = Pa::new(COMMANDS + 16 * u64::from(self.commands) + offset);
            memory.write64(at, word, AccessClass::CommandQueue).unwrap();
        }
        self.commands += 1;
        let prod = register_offset("CMDQ_PROD").unwrap();
        self.smmu.mmio_write(prod, Width::W32, self.commands.into());
        assert_eq!(self.smmu.run_until_idle(&mut memory, &mut (), 10), 1);
    }

    fn device(&self) -> IommuMemory<Memory, StreamIommu<Memory>> {
        let memory = GuestMemory::new(self.backend.clone());
        let iommu = StreamIommu::new(&self.smmu, STREAM, memory);
        IommuMemory::new((*self.backend).clone(), iommu, true, ())
    }
}

/// One descriptor of a split virtqueue: address, length, flags, next.
fn descriptor(address: u64, length: u32, write: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    bytes[12..14].copy_from_slice(&write.to_le_bytes());
    bytes
}

#[test]
fn a_virtio_style_device_reaches_its_ring_and_buffers_through_the_smmu() {
    let mut machine = Machine::new();
    for mapping in [RING, BUFFERS[0], BUFFERS[1]] {
        machine.map(mapping);
    }
    // The driver, in guest memory: a request of one readable buffer that spans two pages which are
    // not neighbours, its data in place.
    let message: Vec<u8> = (0..=255).collect();
    let start = BUFFERS[0].0 + 0xf80;
    machine
        .backend
        .write_slice(&descriptor(start, 256, 0), GuestAddress(RING.1))
        .unwrap();
    machine
        .backend
        .write_slice(&message[..128], GuestAddress(BUFFERS[0].1 + 0xf80))
        .unwrap();
    machine
        .backend
        .write_slice(&message[128..], GuestAddress(BUFFERS[1].1))
        .unwrap();
    // The device: reads the descriptor, then the buffer, then writes an answer behind it.
    let device = machine.device();
    let mut read = [0; 16];
    device.read_slice(&mut read, GuestAddress(RING.0)).unwrap();
    let address = u64::from_le_bytes(read[..8].try_into().unwrap());
    let mut data = vec![0; 256];
    device.read_slice(&mut data, GuestAddress(address)).unwrap();
    assert_eq!(data, message);
    device
        .write_slice(b"done", GuestAddress(RING.0 + 0x100))
        .unwrap();
    let mut answer = [0; 4];
    machine
        .backend
        .read_slice(&mut answer, GuestAddress(RING.1 + 0x100))
        .unwrap();
    assert_eq!(&answer, b"done");
    // What is not mapped is refused, and so is what wraps around.
    assert!(
        device
            .read_slice(&mut data, GuestAddress(0x1234_5000))
            .is_err()
    );
    assert!(
        device
            .read_slice(&mut data, GuestAddress(u64::MAX - 8))
            .is_err()
    );
}

/// The device keeps using a translation until it is invalidated, and not a moment longer.
#[test]
fn an_unmapped_buffer_is_out_of_reach_once_invalidated() {
    let mut machine = Machine::new();
    machine.map(BUFFERS[0]);
    let device = machine.device();
    let mut data = [0; 8];
    let at = GuestAddress(BUFFERS[0].0);
    device.read_slice(&mut data, at).unwrap();
    // Unmap: clear the whole table's root.
    let root = GuestAddress(machine.table.root());
    machine.backend.write_slice(&[0; 4096], root).unwrap();
    device.read_slice(&mut data, at).unwrap();
    // TLBI_NH_ALL of VMID 0, then CMD_SYNC.
    machine.command([0x10, 0]);
    machine.command([0x46, 0]);
    assert!(device.read_slice(&mut data, at).is_err());
    assert!(machine.backend.find_region(at).is_none());
}

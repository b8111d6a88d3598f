//! Edge cases 175–177: translations that software asks for by register.

use crate::support::bench::*;
use crate::support::rig::*;

const GATOS_CTRL: u32 = 0x100;
const GATOS_SID: u32 = 0x108;
const GATOS_ADDR: u32 = 0x110;
const GATOS_PAR: u32 = 0x118;

const STAGE_1: u64 = 1;
const STAGE_2: u64 = 2;
const BOTH: u64 = 3;
const READ: u64 = 1 << 8;

const INV_REQ: u64 = 0xff;
const INV_STAGE: u64 = 0xfe;
const INTERNAL_ERR: u64 = 0xfd;

/// One operation; `access` is the low bits of GATOS_ADDR.
fn operate(rig: &mut Rig, address: u64, stages: u64, access: u64) -> u64 {
    rig.write64(GATOS_SID, SID.into());
    rig.write64(GATOS_ADDR, address & !0xfff | stages << 10 | access);
    rig.write32(GATOS_CTRL, 1);
    assert_eq!(rig.read32(GATOS_CTRL), 1);
    rig.run();
    assert_eq!(rig.read32(GATOS_CTRL), 0);
    assert_eq!(rig.take_events(), [[0; 4]; 0], "it records nothing");
    rig.read64(GATOS_PAR)
}

/// FAULTCODE and REASON and FADDR of a failure.
fn failure(par: u64) -> (u64, u64, u64) {
    assert_eq!(par & 1, 1, "{par:#x}");
    (par >> 4 & 0xff, par >> 1 & 3, par & 0x00ff_ffff_ffff_f000)
}

/// ADDR with Size of a success, ATTR and SH.
fn success(par: u64) -> (u64, u64, u64, u64) {
    assert_eq!(par & 1, 0, "{par:#x}");
    (
        par & 0x00ff_ffff_ffff_f000,
        par >> 11 & 1,
        par >> 56,
        par >> 8 & 3,
    )
}

#[test]
fn edge_175_the_stages_asked_for_must_be_there() {
    for (bench, stages, code) in [
        (Bench::stage1(), BOTH, INV_STAGE),
        (Bench::stage1(), STAGE_2, INV_STAGE),
        (Bench::stage2(), STAGE_1, INV_STAGE),
        (Bench::stage2(), BOTH, INV_STAGE),
        (Bench::bypass(), STAGE_1, INV_STAGE),
        (Bench::stage1(), 0, INV_REQ),
        (Bench::nested(), 0, INV_REQ),
    ] {
        let mut rig = Rig::new(bench);
        assert_eq!(
            failure(operate(&mut rig, VA, stages, READ)),
            (code, 0, 0),
            "TYPE={stages}"
        );
    }
    let mut rig = Rig::new(Bench::nested());
    for (stages, address, output) in [(STAGE_1, VA, IPA), (STAGE_2, IPA, PA), (BOTH, VA, PA)] {
        let (found, size, attr, sh) = success(operate(&mut rig, address, stages, READ));
        assert_eq!(
            (found, size, attr, sh),
            (output, 0, 0xff, 3),
            "TYPE={stages}"
        );
    }
}

#[test]
fn edge_176_stage_1_alone_does_not_tell_of_stage_2() {
    let mut bench = Bench::nested();
    bench.put(S2_ROOT, S2_SHAPE, 0, 30, 0);
    let mut rig = Rig::new(bench);
    assert_eq!(
        failure(operate(&mut rig, VA, STAGE_1, READ)),
        (F_CD_FETCH, 0, 0)
    );
    assert_eq!(
        failure(operate(&mut rig, VA, BOTH, READ)),
        (F_TRANSLATION, 1, CD),
        "REASON: stage 2 of a CD"
    );
    // A table that stage 2 does not map.
    let mut bench = Bench::nested();
    let slot = bench.slot(S1_ROOT, S1_SHAPE, VA, 30);
    bench.write(slot, 0x5000_0000 | 3);
    let mut rig = Rig::new(bench);
    assert_eq!(
        failure(operate(&mut rig, VA, STAGE_1, READ)),
        (F_WALK_EABT, 0, 0)
    );
    let (code, reason, address) = failure(operate(&mut rig, VA, BOTH, READ));
    assert_eq!((code, reason), (F_TRANSLATION, 2));
    assert_eq!(address, 0x5000_0000);
    // The final address.
    let mut rig = Rig::new(Bench::nested());
    rig.bench.map1(VA, (IPA + 0x5000) | S1_PAGE);
    assert_eq!(
        failure(operate(&mut rig, VA, BOTH, READ)),
        (F_TRANSLATION, 3, IPA + 0x5000)
    );
    // Stage 1's own fault has no address.
    assert_eq!(
        failure(operate(&mut rig, 0x1000, BOTH, READ)),
        (F_TRANSLATION, 0, 0)
    );
}

#[test]
fn edge_177_a_64k_page_has_its_size_in_the_result() {
    let mut bench = Bench::stage1();
    let shape = Shape {
        granule: 16,
        start: 42,
        bits: 48,
    };
    bench.cd.set(7, 6, 1).address(115, 68, 0x60_0000);
    let output = 0xa001_0000;
    bench.put(0x60_0000, shape, VA, 16, output | S1_PAGE);
    let mut rig = Rig::new(bench);
    let (address, size, ..) = success(operate(&mut rig, VA + 0x3000, STAGE_1, READ));
    assert_eq!((address, size), (output | 1 << 15, 1));
    // deviations.md D42: no cache is asked or told.
    assert_eq!(rig.smmu.cached_translations().count(), 0);
    assert_eq!(pa(&rig.read(VA)), output);
    rig.bench
        .put(0x60_0000, shape, VA, 16, 0xb000_0000 | S1_PAGE);
    let (address, ..) = success(operate(&mut rig, VA, STAGE_1, READ));
    assert_eq!(address, 0xb000_8000);
    assert_eq!(pa(&rig.read(VA)), output);
}

#[test]
fn permissions_and_updates_of_operations_are_those_of_the_access_asked_for() {
    const DBM: u64 = 1 << 51;
    let mut bench = Bench::stage1();
    bench.cd.bit(43, 1).bit(42, 1).bit(44, 1).bit(45, 0);
    bench.map1(VA, IPA | S1_PAGE | 1 << 7);
    let clean = ((IPA + 0x1000) | S1_PAGE | DBM | 1 << 7) & !(1 << 10);
    bench.map1(VA + 0x1000, clean);
    let mut rig = Rig::new(bench);
    assert_eq!(success(operate(&mut rig, VA, STAGE_1, READ)).0, IPA);
    assert_eq!(
        failure(operate(&mut rig, VA, STAGE_1, 0)),
        (F_PERMISSION, 0, 0)
    );
    assert_eq!(rig.smmu.stalled(), 0, "CD.S=1 does not matter");
    // HTTUI: it would be updated, and is not.
    let slot = rig.bench.slot(S1_ROOT, S1_SHAPE, VA + 0x1000, 12);
    assert_eq!(
        success(operate(&mut rig, VA + 0x1000, STAGE_1, 1 << 6)).0,
        IPA + 0x1000
    );
    assert_eq!(rig.bench.peek(slot), clean);
    assert_eq!(
        success(operate(&mut rig, VA + 0x1000, STAGE_1, 0)).0,
        IPA + 0x1000
    );
    assert_eq!(rig.bench.peek(slot), clean & !(1 << 7) | 1 << 10);
}

#[test]
fn operations_need_an_enabled_smmu_and_end_with_it() {
    let mut rig = Rig::new(Bench::stage1());
    rig.write64(GATOS_SID, SID.into());
    rig.write64(GATOS_ADDR, VA | STAGE_1 << 10 | READ);
    rig.write32(GATOS_CTRL, 1);
    rig.write64(GATOS_ADDR, 0);
    assert_eq!(
        rig.read64(GATOS_ADDR),
        VA | STAGE_1 << 10 | READ,
        "frozen while it runs"
    );
    let enabled = rig.read32(CR0);
    rig.write32(CR0, enabled & !SMMUEN);
    assert_eq!(rig.read32(GATOS_CTRL), 0);
    assert_eq!(failure(rig.read64(GATOS_PAR)).0, INTERNAL_ERR);
    rig.write32(GATOS_CTRL, 1);
    assert_eq!(rig.read32(GATOS_CTRL), 0, "SMMUEN=0");
}

//! Commands from raw words, set by bit number from reference section 7.

use super::*;
use crate::fetch::StreamWorld;
use crate::ids::{Asid, Vmid};

/// A command with fields `(msb, lsb, value)`.
fn command(opcode: u64, fields: &[(u32, u32, u64)]) -> [u64; 2] {
    let mut words = [opcode, 0];
    for &(msb, lsb, value) in fields {
        assert!(msb - lsb == 63 || value >> (msb - lsb + 1) == 0);
        words[(lsb / 64) as usize] |= value << (lsb % 64);
    }
    words
}

fn full() -> SmmuConfig {
    SmmuConfig::full()
}

fn decode(words: [u64; 2]) -> Result<Command, IllegalCommand> {
    Command::decode(words, &full())
}

fn tlbi(words: [u64; 2]) -> Tlbi {
    match decode(words) {
        Ok(Command::Tlbi(tlbi)) => tlbi,
        other => panic!("{other:?}"),
    }
}

/// Opcodes a Non-secure queue takes on a part with everything.
const LEGAL: [u8; 24] = [
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x20, 0x21, 0x22, 0x23, 0x28, 0x2a,
    0x30, 0x40, 0x41, 0x44, 0x45, 0x46, 0x01, 0x02,
];

#[test]
fn edge_026_every_other_opcode_is_illegal() {
    for opcode in 0..=255u8 {
        // TTL=1 keeps a range from being empty; it is nothing to other commands.
        let words = command(opcode.into(), &[]);
        assert_eq!(
            decode(words).is_ok(),
            LEGAL.contains(&opcode),
            "{opcode:#x}"
        );
    }
    assert_eq!(decode(command(0, &[])), Err(IllegalCommand::Opcode));
    assert_eq!(decode(command(0x07, &[])), Err(IllegalCommand::NoMpam));
}

/// `change` alone makes these opcodes illegal.
fn needs(opcodes: &[u8], change: impl Fn(&mut SmmuConfig), illegal: IllegalCommand) {
    let mut part = full();
    change(&mut part);
    for opcode in 0..=255u8 {
        let words = command(opcode.into(), &[]);
        let expected = match decode(words) {
            Ok(_) if opcodes.contains(&opcode) => Err(illegal),
            other => other.map(drop),
        };
        assert_eq!(
            Command::decode(words, &part).map(drop),
            expected,
            "{opcode:#x}"
        );
    }
}

#[test]
fn edge_155_158_162_commands_need_their_features() {
    use IllegalCommand as I;
    needs(&[0x20, 0x21, 0x22, 0x23], |c| c.hyp = false, I::NoEl2);
    needs(&[0x28, 0x2a], |c| c.s2p = false, I::NoStage2);
    needs(&[0x40], |c| c.ats = false, I::NoAts);
    needs(&[0x41], |c| c.pri = false, I::NoPri);
    let stage1 = [0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x20, 0x21, 0x22, 0x23];
    needs(&stage1, |c| c.s1p = false, I::NoStage1);
}

#[test]
fn edge_141_resume_needs_a_part_that_stalls() {
    let terminates = |c: &mut SmmuConfig| c.stall_model = StallModel::TerminateOnly;
    needs(&[0x44, 0x45], terminates, IllegalCommand::NoStall);
}

#[test]
fn edge_159_the_secure_bit_is_illegal_where_it_exists() {
    for opcode in LEGAL {
        let has_ssec = [1, 2, 3, 4, 5, 6, 0x44, 0x45].contains(&opcode);
        let decoded = decode(command(opcode.into(), &[(10, 10, 1)]));
        assert_eq!(
            decoded == Err(IllegalCommand::Secure),
            has_ssec,
            "{opcode:#x}"
        );
    }
}

#[test]
fn edge_028_sync_signals() {
    let sync = |fields: &[(u32, u32, u64)]| decode(command(0x46, fields));
    assert_eq!(sync(&[]), Ok(Command::Sync(SyncSignal::None)));
    // No address: no message, edge case 27.
    let wired = SyncSignal::Interrupt { msi: None };
    assert_eq!(sync(&[(13, 12, 1), (63, 32, 7)]), Ok(Command::Sync(wired)));
    let fields = [(13, 12, 1), (63, 32, 0xdead_beef), (119, 66, 0x80_9004)];
    let message = SyncSignal::Interrupt {
        msi: Some((0x202_4010, 0xdead_beef)),
    };
    assert_eq!(sync(&fields), Ok(Command::Sync(message)));
    assert_eq!(
        sync(&[(13, 12, 2)]),
        Ok(Command::Sync(SyncSignal::SendEvent))
    );
    assert_eq!(sync(&[(13, 12, 3)]), Err(IllegalCommand::SyncSignal));
    let mut part = full();
    (part.sev, part.msi) = (false, false);
    let without = |fields: &[(u32, u32, u64)]| Command::decode(command(0x46, fields), &part);
    assert_eq!(without(&[(13, 12, 2)]), Ok(Command::Sync(SyncSignal::None)));
    assert_eq!(without(&fields), Ok(Command::Sync(wired)));
}

#[test]
fn fields_are_where_the_figures_have_them() {
    let (stream, substream) = (StreamId::new(0x1234_5678), SubstreamId::new(0xabcde));
    let sid = (63, 32, 0x1234_5678);
    let ssid = (31, 12, 0xabcde);
    assert_eq!(
        decode(command(0x05, &[sid, ssid, (64, 64, 1)])),
        Ok(Command::CfgiCd {
            stream,
            substream,
            leaf: Leaf::Only
        })
    );
    assert_eq!(
        decode(command(0x44, &[sid, (79, 64, 0xbeef), (13, 13, 1)])),
        Ok(Command::Resume {
            stream,
            stag: 0xbeef,
            action: ResumeAction::Abort
        })
    );
    assert_eq!(
        decode(command(
            0x41,
            &[sid, ssid, (11, 11, 1), (72, 64, 0x1ff), (77, 76, 2)]
        )),
        Ok(Command::PriResp(PriResponse {
            stream,
            substream: Some(substream),
            group: 0x1ff,
            code: PriResponseCode::Success
        }))
    );
    assert_eq!(
        decode(command(0x41, &[(77, 76, 3)])),
        Err(IllegalCommand::PriResponse)
    );
    let fields = [sid, (9, 9, 1), (69, 64, 2), (127, 76, 0x12347)];
    assert_eq!(
        decode(command(0x40, &fields)),
        Ok(Command::AtcInv(AtcInvalidation {
            stream,
            substream: None,
            global: true,
            address: 0x1234_4000,
            size_log2: 14
        }))
    );
    assert!(decode(command(0x40, &[(69, 64, 52)])).is_ok());
    assert_eq!(
        decode(command(0x40, &[(69, 64, 53)])),
        Err(IllegalCommand::AtcSize)
    );
}

#[test]
fn edge_157_a_range_of_stes_is_an_aligned_block() {
    for (range, first, last) in [(2, 8, 15), (0, 12, 13), (31, 0, u32::MAX)] {
        let all = decode(command(0x04, &[(63, 32, 13), (68, 64, range)])).unwrap();
        for stream in [0, 7, 8, 11, 12, 13, 14, 15, 16, u32::MAX] {
            let covered = (first..=last).contains(&stream);
            assert_eq!(all.covers_ste(StreamId::new(stream)), covered);
        }
    }
}

#[test]
fn edge_156_an_ste_goes_with_its_cds() {
    let (five, six) = (StreamId::new(5), StreamId::new(6));
    let (zero, one) = (SubstreamId::new(0), SubstreamId::new(1));
    let ste = decode(command(0x03, &[(63, 32, 5)])).unwrap();
    assert!(ste.covers_ste(five) && ste.covers_cd(five, zero) && ste.covers_cd(five, one));
    assert!(!ste.covers_cd(six, zero));
    let cd = decode(command(0x05, &[(63, 32, 5)])).unwrap();
    assert!(!cd.covers_ste(five) && cd.covers_cd(five, zero) && !cd.covers_cd(five, one));
    let all = decode(command(0x06, &[(63, 32, 5)])).unwrap();
    assert!(!all.covers_ste(five) && all.covers_cd(five, one) && !all.covers_cd(six, one));
}

/// A non-global 4 KiB page of NS-EL1 with VMID 5 and ASID 7.
const PAGE: TlbTag = TlbTag {
    world: StreamWorld::El1,
    is_ipa: false,
    vmid: Vmid::new(5),
    asid: Some(Asid::new(7)),
    input: 0x1234_5000,
    span_log2: 12,
    leaf_log2: 12,
    granule_log2: 12,
    kind: EntryKind::Leaf { level: 3 },
};

/// CR0.VMW and CR2.E2H.
fn scope(vmw: u8, e2h: bool) -> InvalidationScope {
    InvalidationScope {
        vmid_mask: VmidMask::from_vmw(vmw),
        e2h,
    }
}

/// What each command removes, by the table of reference 7.3: NS-EL1 page, the same global, another
/// VMID, another ASID, another address, IPA entry, EL2, EL2-E2H with ASID 7, that global.
#[test]
fn edge_147_149_155_scopes_are_those_of_the_table() {
    let global = TlbTag { asid: None, ..PAGE };
    let el2 = TlbTag {
        world: StreamWorld::El2,
        vmid: Vmid::new(0),
        ..global
    };
    let e2h = TlbTag {
        world: StreamWorld::El2E2h,
        vmid: Vmid::new(0),
        ..PAGE
    };
    let tags = [
        PAGE,
        global,
        TlbTag {
            vmid: Vmid::new(6),
            ..PAGE
        },
        TlbTag {
            asid: Some(Asid::new(8)),
            ..PAGE
        },
        TlbTag {
            input: 0x1234_6000,
            ..PAGE
        },
        TlbTag {
            is_ipa: true,
            asid: None,
            ..PAGE
        },
        el2,
        e2h,
        TlbTag { asid: None, ..e2h },
    ];
    // (opcode, with E2H=0, with E2H=1): one digit a tag.
    for (opcode, without, with) in [
        (0x10, "110110000", "110110000"),
        (0x11, "100010000", "100010000"),
        (0x12, "110000000", "110000000"),
        (0x13, "110100000", "110100000"),
        (0x20, "000000111", "000000111"),
        (0x21, "000000000", "000000010"),
        (0x22, "000000100", "000000011"),
        (0x23, "000000100", "000000011"),
        (0x28, "110111000", "110111000"),
        (0x2a, "000001000", "000001000"),
        (0x30, "111111000", "111111000"),
    ] {
        let fields = [(47, 32, 5), (63, 48, 7), (127, 76, 0x12345)];
        let tlbi = tlbi(command(opcode, &fields));
        for (e2h, expected) in [(false, without), (true, with)] {
            let found: String = tags
                .iter()
                .map(|tag| {
                    if tlbi.covers(tag, scope(0, e2h)) {
                        '1'
                    } else {
                        '0'
                    }
                })
                .collect();
            assert_eq!(found, expected, "{opcode:#x} E2H={e2h}");
        }
    }
}

#[test]
fn edge_154_vmw_leaves_low_bits_of_the_vmid_out() {
    let all = tlbi(command(0x10, &[(47, 32, 5)]));
    for (vmw, low) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 1), (7, 1)] {
        for vmid in 0..64u16 {
            let tag = TlbTag {
                vmid: Vmid::new(vmid),
                ..PAGE
            };
            let same = vmid / low == 5 / low;
            assert_eq!(all.covers(&tag, scope(vmw, false)), same);
        }
    }
}

#[test]
fn a_single_address_removes_its_block_whatever_the_size() {
    let tlbi = tlbi(command(
        0x12,
        &[(47, 32, 5), (63, 48, 7), (127, 76, 0x12345)],
    ));
    for (input, leaf_log2, covered) in [
        (0x1220_0000, 21, true),
        (0x1200_0000, 21, false),
        (0, 30, true),
        (0x1234_4000, 12, false),
        (0x1234_0000, 16, true),
    ] {
        let tag = TlbTag {
            input,
            leaf_log2,
            ..PAGE
        };
        assert_eq!(tlbi.covers(&tag, scope(0, false)), covered);
    }
}

#[test]
fn upper_addresses_match_with_any_top_byte() {
    let upper = TlbTag {
        input: canonical(0x00ff_ffff_ffff_f000),
        ..PAGE
    };
    assert_eq!(upper.input, 0xffff_ffff_ffff_f000);
    for address in [0xffff_ffff_ffff_f000u64, 0x12ff_ffff_ffff_f000] {
        let tlbi = tlbi(command(0x13, &[(47, 32, 5), (127, 76, address >> 12)]));
        assert!(tlbi.covers(&upper, scope(0, false)));
    }
}

/// Ranges against their granules listed one by one.
#[test]
fn edge_151_153_ranges_cover_their_granules() {
    let scale_of = |tg| [0, 12, 14, 16][tg as usize];
    for tg in 1..=3u64 {
        let granule: u64 = 1 << scale_of(tg);
        for (num, scale) in [(0, 1), (3, 1), (5, 0), (31, 0), (1, 3)] {
            let first = 64 * granule;
            let count = (num + 1) << scale;
            let fields = [
                (47, 32, 5),
                (63, 48, 7),
                (16, 12, num),
                (25, 20, scale),
                (75, 74, tg),
                (127, 76, first >> 12),
            ];
            let any_level = tlbi(command(0x12, &fields));
            let mut with_ttl = fields.to_vec();
            with_ttl.push((73, 72, 2));
            let level2 = tlbi(command(0x12, &with_ttl));
            for page in 0..200u64 {
                let tag = TlbTag {
                    input: page * granule,
                    leaf_log2: scale_of(tg),
                    granule_log2: scale_of(tg),
                    ..PAGE
                };
                let inside = (64..64 + count).contains(&page);
                let scope = scope(0, false);
                assert_eq!(any_level.covers(&tag, scope), inside, "{page}");
                // Level 3 leaves and other granules are not asked for.
                assert!(!level2.covers(&tag, scope));
                let other = TlbTag {
                    granule_log2: 18,
                    ..tag
                };
                assert!(!any_level.covers(&other, scope));
            }
        }
    }
    let eight = tlbi(command(0x12, &[(16, 12, 3), (25, 20, 1), (75, 74, 1)]));
    let TlbiAddress::Range { first, last, .. } = eight.address else {
        panic!("{eight:?}");
    };
    assert_eq!((first, last), (0, 8 * 4096 - 1));
}

#[test]
fn edge_152_a_range_of_nothing_is_illegal_where_ranges_exist() {
    for opcode in [0x12, 0x13, 0x22, 0x23, 0x2a] {
        let empty = command(opcode, &[(75, 74, 1)]);
        assert_eq!(decode(empty), Err(IllegalCommand::EmptyRange));
        assert!(decode(command(opcode, &[(75, 74, 1), (73, 72, 3)])).is_ok());
        let mut part = full();
        part.ril = false;
        assert!(Command::decode(empty, &part).is_ok());
        // Level 1 of 16 KiB tables has leaves with DS only.
        let level1 = command(opcode, &[(75, 74, 2), (73, 72, 1)]);
        assert!(decode(level1).is_ok());
        part.ril = true;
        part.ds = false;
        assert_eq!(
            Command::decode(level1, &part),
            Err(IllegalCommand::EmptyRange)
        );
    }
}

#[test]
fn the_largest_range_ends_at_the_last_address() {
    let fields = [
        (16, 12, 31),
        (25, 20, 63),
        (75, 74, 3),
        (127, 76, (1 << 52) - 1),
    ];
    let TlbiAddress::Range { last, .. } = tlbi(command(0x12, &fields)).address else {
        panic!();
    };
    assert_eq!(last, u64::MAX);
}

#[test]
fn edge_150_tables_stay_under_leaf_and_go_without_it() {
    let table = TlbTag {
        span_log2: 21,
        leaf_log2: 21,
        input: 0x1220_0000,
        kind: EntryKind::Table { level: 2 },
        ..PAGE
    };
    let fields = [(47, 32, 5), (63, 48, 7), (127, 76, 0x12345)];
    for (leaf, goes) in [(1, false), (0, true)] {
        let mut by_address = fields.to_vec();
        by_address.push((64, 64, leaf));
        let mut by_range = by_address.clone();
        // A level hint is about leaves: tables on the way to them go all the same.
        by_range.extend([(75, 74, 1), (73, 72, 3)]);
        for fields in [by_address, by_range] {
            assert_eq!(
                tlbi(command(0x12, &fields)).covers(&table, scope(0, false)),
                goes
            );
        }
    }
    for opcode in [0x10, 0x11, 0x28, 0x30] {
        assert!(tlbi(command(opcode, &fields)).covers(&table, scope(0, false)));
    }
}

//! Words from logs, decoded.

use smmu::config::SmmuConfig;

use super::{DecodeError, Format, Kind, Show, Table, WordError, decode, decode_register};

fn one(kind: Kind, text: &str) -> super::Decoded {
    let mut all = decode(kind, text, &SmmuConfig::full()).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn value(decoded: &super::Decoded, name: &str) -> u64 {
    decoded
        .fields
        .iter()
        .find(|f| f.name == name)
        .unwrap()
        .value
}

const LOG: &str = "\
[   41.105] arm-smmu-v3 arm-smmu-v3.0.auto: event 0x10 received:
[   41.106] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000000800000010
[   41.107] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000020800000000
[   41.108] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x00000000ffffd040
[   41.109] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000000000000000
";

#[test]
fn an_event_is_read_from_a_kernel_log() {
    let event = one(Kind::Event, LOG);
    assert_eq!(event.title, "event F_TRANSLATION");
    assert_eq!(value(&event, "StreamID"), 8);
    assert_eq!(value(&event, "RnW"), 1);
    assert_eq!(value(&event, "CLASS"), 2);
    assert_eq!(value(&event, "InputAddr"), 0xffff_d040);
    assert!(event.illegal.is_empty());
}

#[test]
fn the_same_event_is_read_in_every_form() {
    let want = one(Kind::Event, LOG);
    for text in [
        "0000000800000010 0000020800000000 00000000ffffd040 0",
        "0x0000000800000010, 0x0000020800000000, 0x00000000ffffd040, 0x0000000000000000",
        "00000010 00000008 00000000 00000208 ffffd040 00000000 00000000 00000000",
        "arm-smmu-v3 arm-smmu-v3.0.auto: event: F_TRANSLATION client: 0000:00:01.0 sid: 0x8\n\
         arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000000800000010\n\
         arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000020800000000\n\
         arm-smmu-v3 arm-smmu-v3.0.auto: \t0x00000000ffffd040\n\
         arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000000000000000",
    ] {
        assert_eq!(one(Kind::Event, text), want, "{text}");
    }
    let twice = LOG.repeat(2);
    assert_eq!(
        decode(Kind::Event, &twice, &SmmuConfig::full())
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn wrong_words_are_named() {
    let part = SmmuConfig::full();
    assert_eq!(
        decode(Kind::Cmd, "0x10 zebra", &part),
        Err(DecodeError::Words(WordError::NotAWord {
            line: 1,
            token: "zebra".into()
        }))
    );
    assert_eq!(
        decode(Kind::Ste, "1 2 3", &part),
        Err(DecodeError::Words(WordError::Count {
            found: 3,
            expected: 8
        }))
    );
    assert_eq!(
        decode(Kind::Event, "", &part),
        Err(DecodeError::Words(WordError::Count {
            found: 0,
            expected: 4
        }))
    );
    assert!(decode(Kind::L1Std, "0x10000000000000000", &part).is_err());
}

#[test]
fn an_illegal_ste_says_which_rule_it_breaks_and_what_decides() {
    // V=1, Config=0b111, everything else zero: S2T0SZ=0, and S2AA64=0.
    let ste = one(Kind::Ste, "f 0 0 0 0 0 0 0000000000000000");
    let broken: Vec<_> = ste.illegal.iter().map(|i| i.field.as_str()).collect();
    assert!(
        broken.contains(&"S2AA64") && broken.contains(&"S2T0SZ"),
        "{broken:?}"
    );
    assert!(ste.illegal.iter().all(|i| !i.depends_on.is_empty()));
    let legal = one(
        Kind::Ste,
        "0x000000004001100f 0x00000000000800d6 0x044c759400000001 0x0000000043aa0000 0 0 0 0",
    );
    assert_eq!(legal.illegal, []);
    assert_eq!(
        legal.notes[0],
        "stage 2: 44-bit IPA, starts at level 1 with 1 table, output 44 bits"
    );
}

#[test]
fn an_illegal_cd_is_judged_by_the_part() {
    // A=0 is legal where the part can read as zero, illegal where it can only abort.
    let words = "0x0001a204c0003510 0x40bd9000 0 0xfffffffff404ff44 0 0 0 0";
    assert_eq!(one(Kind::Cd, words).illegal, []);
    let on_qemu = decode(Kind::Cd, words, &SmmuConfig::qemu_11()).unwrap();
    assert_eq!(on_qemu[0].illegal[0].depends_on, "IDR0.TERM_MODEL");
}

#[test]
fn commands_and_registers_are_named() {
    let cmd = one(Kind::Cmd, "0x0001000200000012 0x0000000012345001");
    assert_eq!(cmd.title, "CMD_TLBI_NH_VA");
    assert_eq!(value(&cmd, "VMID"), 2);
    assert_eq!(value(&cmd, "ASID"), 1);
    assert_eq!(value(&cmd, "Leaf"), 1);
    assert_eq!(value(&cmd, "Address"), 0x12345);
    assert_eq!(
        one(Kind::Cmd, "0 0000000000000000").illegal[0].reason,
        "CERROR_ILL: reserved opcode"
    );

    let cr0 = decode_register("SMMU_CR0=0xd").unwrap();
    assert_eq!(
        (
            value(&cr0, "SMMUEN"),
            value(&cr0, "PRIQEN"),
            value(&cr0, "CMDQEN")
        ),
        (1, 0, 1)
    );
    assert!(matches!(
        decode_register("CRO 1"),
        Err(DecodeError::UnknownRegister { .. })
    ));
    assert!(matches!(
        decode_register("CR0"),
        Err(DecodeError::RegisterForm)
    ));
    assert!(matches!(
        decode_register("CR0=1ffffffff"),
        Err(DecodeError::TooLarge { .. })
    ));
    assert_eq!(
        decode_register("cr0 0x200").unwrap().notes,
        ["undefined bits are set: 9"]
    );
}

#[test]
fn a_descriptor_is_read_at_its_level() {
    let at = |granule_log2, level, word: &str| {
        let table = Table {
            stage: 1,
            granule_log2,
            level,
            format: Format::Bits48,
        };
        one(Kind::Pte(table), word)
    };
    assert_eq!(at(12, 3, "0x80312743").title, "stage 1 level 3 page");
    assert_eq!(at(12, 3, "0x80312743").notes, ["output address 0x80312000"]);
    assert_eq!(at(12, 2, "0x80200741").notes, ["output address 0x80200000"]);
    assert_eq!(
        at(12, 0, "0x80312003").notes,
        ["next table address 0x80312000"]
    );
    assert_eq!(at(12, 0, "0x741").illegal.len(), 1);
    assert_eq!(
        at(12, 3, "0x741").illegal[0].reason,
        "F_TRANSLATION: 0b01 is reserved at level 3"
    );
    assert_eq!(
        at(16, 3, "0x4001f743").notes,
        ["output address 0xf000040010000"]
    );
}

#[test]
fn zero_fields_are_hidden_unless_asked_for() {
    let l1std = one(Kind::L1Std, "40e50009");
    assert_eq!(
        l1std.to_text(Show::Set),
        "L1STD  0x0000000040e50009\n  [4:0]     Span           0x9                 256 STEs\n  \
         [55:6]    L2Ptr          0x1039400           address 0x40e50000\n"
    );
    assert!(one(Kind::L1Std, "0").to_text(Show::All).contains("Span"));
}

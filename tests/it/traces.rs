//! Traces of real drivers: excerpts agree with every cache, whatever is changed in them is found,
//! and what QEMU alone does is named.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use smmu::cache::CacheConfig;
use smmu_sim::check::{CheckError, CheckOptions, Report, Window, check_file};

const CACHES: [CacheConfig; 3] = [CacheConfig::OFF, CacheConfig::SMALL, CacheConfig::INFINITE];

/// A device with these caches.
fn cached(caches: &CacheConfig) -> CheckOptions {
    CheckOptions {
        caches: *caches,
        ..CheckOptions::default()
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// The first `lines` lines of an excerpt.
fn excerpt(name: &str, lines: usize) -> Vec<String> {
    let text = smmu_sim::input::read_text(&data(name)).unwrap();
    text.lines().take(lines).map(str::to_owned).collect()
}

fn replayed(lines: &[String], caches: &CacheConfig) -> Result<Report, CheckError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    file.flush().unwrap();
    let mut report = Report::default();
    check_file(file.path(), &cached(caches), &mut report)?;
    Ok(report)
}

/// What differs when `lines` are replayed, whatever the caches.
#[track_caller]
fn differences(lines: &[String]) -> Vec<String> {
    let kinds = CACHES.map(|caches| {
        let report = replayed(lines, &caches).unwrap();
        assert_eq!(report.checked, report.agree + report.differ);
        report.kinds.into_keys().collect::<Vec<_>>()
    });
    assert_eq!(kinds[0], kinds[1]);
    assert_eq!(kinds[0], kinds[2]);
    kinds[0].clone()
}

/// Departures named when `lines` are replayed and all else agrees.
#[track_caller]
fn departures(lines: &[String], caches: &CacheConfig) -> Vec<(&'static str, u64)> {
    let report = replayed(lines, caches).unwrap();
    assert!(report.is_clean(), "{report}");
    let named = report.departures.iter();
    named.map(|(name, kind)| (*name, kind.count)).collect()
}

#[test]
fn excerpts_of_real_runs_agree_with_every_cache() {
    for (name, checked, departs) in [
        ("k61_lazy", 9_829, &[][..]),
        ("k72_16k_strict", 10_598, &[]),
        ("k72_s2only", 4_919, &[]),
        (
            "own4k_nested",
            16_064,
            &[
                ("APTABLE_EARLY", 691),
                ("FAULT_PRIO", 7),
                ("IPA_LOW", 1_448),
                ("warm-permission", 201),
            ],
        ),
    ] {
        for caches in CACHES {
            let mut report = Report::default();
            let path = data(&format!("trace_{name}.csv.zst"));
            check_file(&path, &cached(&caches), &mut report).unwrap();
            assert!(report.is_clean(), "{report}");
            assert_eq!(report.checked, checked, "{name}");
            // What QEMU makes of global pages shows only where a cache has kept one.
            let named: Vec<_> = report
                .departures
                .iter()
                .map(|(name, kind)| (*name, kind.count))
                .filter(|(name, _)| *name != "GLOBAL")
                .collect();
            assert_eq!(named, departs, "{name}");
            let trace = &report.traces[0];
            assert_eq!(trace.hits == 0, caches == CacheConfig::OFF, "{name}");
            assert!(trace.commands["SYNC"] > 90, "{name}");
        }
    }
}

/// One field of one line is changed: that and nothing else differs. The lines are chosen so that
/// every kind of line and every compared field is changed once.
#[test]
fn every_change_of_an_excerpt_is_found() {
    let kernel = excerpt("trace_k72_16k_strict.csv.zst", 2_000);
    let nested = excerpt("trace_own4k_nested.csv.zst", 12_000);
    assert_eq!(differences(&kernel), [""; 0]);
    assert_eq!(differences(&nested), [""; 0]);

    // (excerpt, how the line to change begins, what it holds, by what that is replaced, kind)
    let cases: &[(&[String], &str, &str, &str, &str)] = &[
        (
            &kernel,
            "T,",
            ",s,8090040,",
            ",s,8090044,",
            "a translation: pa differ",
        ),
        (
            &kernel,
            "T,",
            ",3fff,3,1",
            ",fff,3,1",
            "a translation: mask differ",
        ),
        (
            &kernel,
            "T,",
            ",3fff,3,1",
            ",3fff,1,1",
            "a translation: perm differ",
        ),
        (
            &kernel,
            "T,",
            ",3fff,3,1",
            ",3fff,3,2",
            "a translation: stage differ",
        ),
        (
            &nested,
            "E,",
            ",28000000000,",
            ",20000000000,",
            ": S2, FetchAddr differ",
        ),
        (
            &nested,
            "E,",
            ",20000000000,",
            ",20800000000,",
            ": RnW differ",
        ),
        (&nested, "T,", ",e,,,,3,m,1,10", ",e,,,,3,m,1,11", ""),
    ];
    for (lines, start, from, to, kind) in cases {
        let found = (0..lines.len()).filter(|&at| lines[at].starts_with(start));
        let mut found = found.filter(|&at| lines[at].contains(from)).peekable();
        assert!(found.peek().is_some(), "{start}…{from}");
        let mut seen = Vec::new();
        for at in found.take(8) {
            let mut changed = lines.to_vec();
            changed[at] = changed[at].replacen(from, to, 1);
            let report = replayed(&changed, &CacheConfig::INFINITE).unwrap();
            seen.extend(report.kinds.into_keys());
        }
        assert!(!seen.is_empty(), "{start}…{from} -> {to}");
        assert!(seen.iter().any(|name| name.contains(kind)), "{seen:?}");
    }
}

/// Registers as Linux sets them: tables and queues, then CR0.
fn registers() -> Vec<String> {
    [
        "# smmu-dma-trace-1",
        "R,28,d75,4",
        "R,2c,6,4",
        "R,80,4000000041000000,8",
        "R,88,10210,4",
        "R,90,4000000042000004,8",
        "R,98,0,4",
        "R,9c,0,4",
        "R,20,8,4",
        "R,a0,4000000043000001,8",
        "R,a8,0,4",
        "R,ac,0,4",
        "R,20,d,4",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn with(lines: &[&str]) -> Vec<String> {
    let more = lines.iter().map(|line| (*line).to_owned());
    registers().into_iter().chain(more).collect()
}

/// A stream of stage 2 alone: 4 KiB tables of 44 bits, as Linux makes them.
const STAGE2: [&str; 6] = [
    "S,44000200,d,0,44c359400000003,45a6e000,0,0,0,0",
    "M,45a6e000,44895003",
    "M,44895008,44896003",
    "M,44896000,44897003",
    "M,44897000,600000500007c7",
    "T,8,40000010,4,r,s,50000010,fff,3,2,m,4",
];

#[test]
fn an_address_beyond_stage_2_is_a_departure_by_name() {
    // IHI 0070 §3.4.1: an input beyond IAS is F_ADDR_SIZE of stage 1; QEMU records nothing.
    let mut lines = with(&STAGE2);
    lines.push("T,8,119e5386196c,f,w,e,,,,2,m,0,0".into());
    assert_eq!(
        departures(&lines, &CacheConfig::INFINITE),
        [("IAS_NOEVT", 1)]
    );
    // The same within the range is no such thing.
    *lines.last_mut().unwrap() = "T,8,19e5386196c,f,w,e,,,,2,m,0,0".into();
    assert_eq!(
        differences(&lines),
        ["a fault without an event expected, F_TRANSLATION found"]
    );
}

#[test]
fn a_write_only_page_is_read_through_a_warm_tlb_and_not_through_a_cold_one() {
    let mut lines = with(&STAGE2);
    lines[17] = "M,44897000,60000050000787".into();
    lines[18] = "T,8,40000010,4,w,s,50000010,fff,2,2,m,4".into();
    lines.push("T,8,40000010,4,r,s,50000010,fff,2,2,h,0".into());
    for caches in CACHES {
        assert_eq!(departures(&lines, &caches), [("warm-permission", 1)]);
    }
    *lines.last_mut().unwrap() = "T,8,40000010,4,r,s,50000010,fff,2,2,m,4".into();
    assert_eq!(
        differences(&lines),
        ["a translation expected, F_PERMISSION found"]
    );
}

/// Two streams of stage 1 with ASIDs 1 and 2 and a global page each at the same address.
const GLOBAL: [&str; 14] = [
    "S,44000200,42f2800b,d6,0,0,0,0,0,0",
    "D,42f28000,1e204c0003510,42f2c000,0,fffffffff404ff44,0,0,0,0",
    "M,42f2c000,42f2d003",
    "M,42f2d008,42f2e003",
    "M,42f2e000,42f2f003",
    "M,42f2f000,6000005000064b",
    "T,8,40000010,4,r,s,50000010,fff,3,1,m,4",
    "S,44000400,42f3800b,d6,0,0,0,0,0,0",
    "D,42f38000,2e204c0003510,42f3c000,0,fffffffff404ff44,0,0,0,0",
    "M,42f3c000,42f3d003",
    "M,42f3d008,42f3e003",
    "M,42f3e000,42f3f003",
    "M,42f3f000,6000005100064b",
    "T,10,40000010,4,r,s,51000010,fff,3,1,m,4",
];

#[test]
fn global_pages_are_global_in_the_model_alone() {
    // IHI 0070 §3.17: a global entry serves every ASID of its VMID; QEMU has none.
    let mut lines = with(&GLOBAL);
    assert_eq!(departures(&lines, &CacheConfig::INFINITE), [("GLOBAL", 1)]);
    assert_eq!(departures(&lines, &CacheConfig::OFF), []);
    // A wrong answer is no such thing.
    *lines.last_mut().unwrap() = "T,10,40000010,4,r,s,52000010,fff,3,1,m,4".into();
    assert_eq!(differences(&lines), ["a translation: pa differ"]);

    // Nor does TLBI_NH_ASID remove it (IHI 0070 §4.4).
    let changed = [
        "C,0,1000000000011,0",
        "R,98,1,4",
        "M,42f2f000,6000005200064b",
        "T,8,40000010,4,r,s,52000010,fff,3,1,m,4",
    ];
    let mut lines = with(&GLOBAL[..7]);
    lines.extend(changed.map(str::to_owned));
    assert_eq!(departures(&lines, &CacheConfig::INFINITE), [("GLOBAL", 1)]);
    // Without the invalidation the model's answer is stale, and QEMU's would be.
    lines.drain(lines.len() - 4..lines.len() - 2);
    assert_eq!(replayed(&lines, &CacheConfig::INFINITE).unwrap().differ, 1);
}

#[test]
fn the_event_queue_holds_what_was_recorded_wraps_and_overflows() {
    // Two entries: the third fault is lost until software has read one.
    let mut lines = with(&STAGE2);
    let fault = |n: u64| {
        [
            format!("T,8,5000{n}000,4,r,e,,,,2,m,3,10"),
            format!("E,800000010,28800000000,5000{n}000,5000{n}000"),
        ]
    };
    lines.extend(fault(0));
    lines.extend(fault(1));
    lines.push("T,8,50002000,4,r,e,,,,2,m,3,10".into());
    lines.push("R,ac,1,4".into());
    lines.extend(fault(3));
    lines.push("R,ac,3,4".into());
    lines.extend(fault(4));
    assert_eq!(differences(&lines), [""; 0]);
    // Software that has read nothing yet: the record of the last fault has no place.
    lines.remove(lines.len() - 3);
    assert_eq!(
        differences(&lines),
        ["F_TRANSLATION: recorded, not found in the event queue"]
    );
}

#[test]
fn commands_that_qemu_carries_out_although_illegal_are_departures_by_name() {
    // IHI 0070 §4.4.1.1: TG without NUM, SCALE and TTL; IHI 0070 §4.5: ATC_INV without ATS.
    let lines = with(&[
        "C,0,53000100000012,218bc0160801",
        "C,1,2800000040,0",
        "C,2,fc02046,0",
        "R,98,3,4",
    ]);
    for caches in CACHES {
        assert_eq!(
            departures(&lines, &caches),
            [("CMD_IGNORED", 1), ("TLBI_RANGE", 1)]
        );
    }
    let unknown = with(&["C,0,ff,0", "R,98,1,4"]);
    assert_eq!(replayed(&unknown, &CacheConfig::OFF).unwrap().differ, 1);
}

#[test]
fn commands_are_those_of_the_queue_and_no_more() {
    let more = with(&["C,0,fc02046,0", "R,98,2,4"]);
    assert_eq!(
        differences(&more),
        ["the end of the command queue expected"]
    );
    let elsewhere = with(&["C,1,fc02046,0", "R,98,1,4"]);
    assert_eq!(
        differences(&elsewhere),
        ["SYNC expected, something else consumed"]
    );
    // A transaction of another thread between a command and the end of its doorbell's write.
    let mut between = with(&STAGE2);
    between.push("C,0,4,1f".into());
    between.push("C,1,30,0".into());
    between.extend(STAGE2.map(str::to_owned));
    between.push("R,98,2,4".into());
    assert_eq!(differences(&between), [""; 0]);
}

#[test]
fn an_aborted_fetch_is_learnt_from_its_fault() {
    let mut lines = with(&STAGE2);
    lines[18] = "T,8,40000010,4,r,e,,,,2,m,3,b".into();
    lines.remove(17);
    lines.push("E,80000000b,28800000000,40000010,44897000".into());
    assert_eq!(differences(&lines), [""; 0]);
    // The descriptor can be read again once a trace shows it.
    lines.extend(STAGE2[4..].iter().map(|line| (*line).to_owned()));
    assert_eq!(differences(&lines), [""; 0]);
}

#[test]
fn a_bad_line_is_refused_by_number_and_field() {
    for (line, what) in [
        (
            "Q,1",
            "a line begins with R, C, S, D, M, T, E, K, G or Z, not \"Q\"",
        ),
        ("M,zz,1", "M: pa is \"zz\", not a hexadecimal number"),
        ("M,44,1", "M: pa is \"44\", not a multiple of 8 below 2^52"),
        ("M,48", "M: the line ends before value"),
        ("M,48,1,2", "M: \"2\" after the last field"),
        ("M,48,+1", "M: value is \"+1\""),
        ("R,20,0,3", "R: size is \"3\", not 4 or 8"),
        ("R,20,100000000,4", "R: value is \"100000000\""),
        (
            "R,22,0,4",
            "R: offset is \"22\", not a multiple of 4 below 10000",
        ),
        (
            "C,100000000,0,0",
            "C: cons is \"100000000\", not a number of at most 32 bits",
        ),
        (
            "S,44000220",
            "S: pa is \"44000220\", not a multiple of 64 below 2^52",
        ),
        ("D,44000200,1,2", "D: the line ends before q2"),
        ("E,1,2,3,4", "E: no T line before it"),
        ("T,8,0,4,x,s,0,fff,3,1,h,0", "T: rw is \"x\", not r or w"),
        (
            "T,8,0,4,r,q,0,fff,3,1,h,0",
            "T: s is \"q\", not s, e, a, b or d",
        ),
        (
            "T,8,0,4,r,s,0,ffe,3,1,h,0",
            "T: mask is \"ffe\", not a power of two less 1",
        ),
        (
            "T,8,0,4,r,s,0,fff,4,1,h,0",
            "T: perm is \"4\", not 0, 1, 2 or 3",
        ),
        (
            "T,8,0,4,r,s,0,fff,3,4,h,0",
            "T: stage is \"4\", not 0, 1, 2 or 3",
        ),
        (
            "T,8,0,4,r,s,0,fff,3,1,k,0",
            "T: tlb is \"k\", not letters h and m",
        ),
        (
            "T,8,0,4,r,e,,,,1,m,4,100",
            "T: evt is \"100\", not an event type of 8 bits",
        ),
        ("T,8,0,4,r,a,,,,0,,0,10", "T: evt is \"10\", not 0"),
    ] {
        let lines = with(&[line]);
        let error = replayed(&lines, &CacheConfig::OFF).unwrap_err().to_string();
        assert!(error.contains(":14: "), "{line}: {error}");
        assert!(error.contains(what), "{line}: {error}");
    }
    let long = with(&[&"M,48,1".repeat(1_000)]);
    let error = replayed(&long, &CacheConfig::OFF).unwrap_err().to_string();
    assert!(error.contains(":14: longer than"), "{error}");
}

#[test]
fn a_run_cut_short_and_random_lines_end_without_panic() {
    let whole = excerpt("trace_own4k_nested.csv.zst", 3_000);
    for seed in 0..40u64 {
        // Lines left out, repeated and exchanged.
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let mut lines = whole[..whole.len() - random() % 1_000].to_vec();
        for _ in 0..200 {
            let (a, b) = (random() % lines.len(), random() % lines.len());
            match random() % 3 {
                0 => drop(lines.remove(a)),
                1 => lines.swap(a, b),
                _ => lines.insert(a, lines[b].clone()),
            }
        }
        let _ = replayed(&lines, &CACHES[seed as usize % 3]);
    }
}

/// A window is a window: the same steps alone or within a longer one, and nothing is changed by
/// looking.
#[test]
fn the_caches_shown_over_a_window_are_those_of_the_whole_run() {
    let shown = |first, count| {
        let options = CheckOptions {
            show: Some(Window { first, count }),
            ..cached(&CacheConfig::SMALL)
        };
        let mut report = Report::default();
        check_file(&data("trace_k61_lazy.csv.zst"), &options, &mut report).unwrap();
        report
    };
    let whole = shown(1, 200);
    let part = shown(41, 60);
    assert_eq!(part.views[0].frames(), &whole.views[0].frames()[40..100]);
    assert!(
        part.views[0]
            .frames()
            .iter()
            .any(|frame| !frame.removed.is_empty())
    );
    let mut plain = Report::default();
    check_file(
        &data("trace_k61_lazy.csv.zst"),
        &cached(&CacheConfig::SMALL),
        &mut plain,
    )
    .unwrap();
    assert_eq!((plain.checked, plain.agree), (whole.checked, whole.agree));
    assert!(plain.views.is_empty());
}

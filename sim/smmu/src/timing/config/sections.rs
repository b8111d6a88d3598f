//! The sections of a [`TimingConfig`](super::TimingConfig), one structure a part of the machine.

use crate::{choice, section};

choice! {
    /// In which order transactions of a TBU leave it.
    Completion {
        /// Any: each as soon as it is translated.
        Any = "any",
        /// Those of one StreamID in order.
        Stream = "stream",
        /// All in order.
        All = "all",
    }
}

choice! {
    /// Which entry of a full set makes room.
    Policy {
        /// Each in turn.
        RoundRobin = "round-robin",
        /// The least recently used.
        Lru = "lru",
        /// Tree pseudo-LRU: powers of two of ways, at most 64.
        PseudoLru = "pseudo-lru",
        /// Any, from the generator seeded by `memory.seed`.
        Random = "random",
        /// None: the cache grows.
        Infinite = "infinite",
    }
}

choice! {
    /// How a set is chosen.
    IndexBits {
        /// By a hash of the address.
        Hashed = "hashed",
        /// By the low bits of the page number.
        Low = "low",
    }
}

choice! {
    /// Which misses of a TBU share one request to the TCU.
    HazardMerge {
        /// Those that the translation on its way covers.
        Translation = "translation",
        /// None.
        Off = "off",
    }
}

choice! {
    /// One walk cache, or one for each stage and level.
    WalkCacheLayout {
        /// Eight caches, each with `entries`.
        PerLevel = "per-level",
        /// One cache with `entries`.
        Unified = "unified",
    }
}

choice! {
    /// How walk caches of several levels are probed.
    Probes {
        /// All at once: one latency.
        Parallel = "parallel",
        /// Deepest level first, one latency each until one hits.
        Serial = "serial",
    }
}

choice! {
    /// Whether devices translate by ATS before they send.
    UseOfAts {
        /// They send untranslated.
        Off = "false",
        /// They have an ATC, ask for what it does not hold, and send translated.
        On = "true",
    }
}

/// Entries a cache may have.
const MOST_ENTRIES: u32 = 1 << 20;
/// A latency longer than this is a mistake in the file.
const LONGEST: u64 = 1_000_000;

section! {
    /// Devices: how transactions arrive.
    Device {
        outstanding: u32 = 64, 1..=65536, "transactions",
            "Transactions in flight at once, all devices together. 64 keeps a deep queue busy, as one 16-lane PCIe 4 port does.";
        interval_cycles: u64 = 0, 0..=LONGEST, "cycles",
            "Least time between two arrivals; 0 lets the next come as soon as there is room, so that the SMMU is what limits.";
        round_trip_cycles: u64 = 0, 0..=LONGEST, "cycles",
            "Time a transaction spends outside the SMMU: bus, memory, completion. 0 measures the translation alone; pcie-bench presets set it.";
    }
}

section! {
    /// Devices with PCIe ATS: the ATC of each, its link, and invalidation.
    Ats {
        enabled: UseOfAts = UseOfAts::Off, (), "",
            "Whether devices use ATS. Off: most devices cannot, and Linux enables it only for those that firmware vouches for.";
        entries: u32 = 64, 0..=MOST_ENTRIES, "entries",
            "Translations that a device's ATC holds, whatever their sizes; 0 leaves it out, and every transaction asks. HyperTRIO's device TLB has 64.";
        ways: u32 = 8, 0..=MOST_ENTRIES, "ways",
            "Ways of a set, 0 for fully associative. HyperTRIO's device TLB has 8.";
        policy: Policy = Policy::Lru, (), "",
            "HyperTRIO's device TLB replaces the least recently used.";
        index: IndexBits = IndexBits::Hashed, (), "",
            "Set choice: hashed, as strides are the rule in DMA.";
        latency_cycles: u64 = 2, 0..=LONGEST, "cycles",
            "Time of a look-up in the ATC: 2 ns in HyperTRIO's device TLB.";
        lookups: u32 = 2, 1..=1024, "lookups",
            "Look-ups of one ATC under way at once; lookups divided by latency start a cycle: one a cycle.";
        requests: u32 = 32, 1..=4096, "requests",
            "Translation requests that one device may have outstanding: the tags a PCIe function has without extended tags.";
        stu_log2: u32 = 12, 12..=43, "log2 bytes",
            "Smallest translation unit, as software sets it: misses of one unit share a request, and what no table translates is answered in this size. Linux sets the SMMU's smallest page.";
        link_latency_cycles: u64 = 450, 0..=LONGEST, "cycles",
            "Time of one message between device and SMMU, each way: 450 ns of PCIe in HyperTRIO. The transactions themselves are not delayed: device.round_trip_cycles counts that.";
        link_interval_cycles: u64 = 1, 1..=LONGEST, "cycles",
            "Time between two messages of one direction; devices of one TBU share a link. One a cycle.";
        invalidations: u32 = 32, 1..=32, "invalidations",
            "ATC invalidations sent and not yet completed; further ones wait in the command queue. PCIe numbers them by 5 bits.";
        invalidate_cycles: u64 = 4, 0..=LONGEST, "cycles",
            "Time an ATC needs for one invalidation: a match of all entries at once, as in the TLBs. Link and translations in use come on top.";
    }
}

section! {
    /// A translation buffer unit.
    Tbu {
        count: u32 = 1, 1..=64, "TBUs",
            "TBUs; stream s goes to TBU s mod count. 1 because a single device is the usual question; Agilex 5 has 6.";
        slots: u32 = 64, 1..=4096, "transactions",
            "Translation slots of a TBU, held until the transaction leaves. MMU-700 allows 2 to 512; gem5 has 16, Agilex 5 256.";
        port_cycles: u64 = 1, 0..=LONGEST, "cycles",
            "Cycles a transaction keeps the input port: one is accepted a cycle (MMU-600/700 are pipelined).";
        beat_bytes: u32 = 16, 1..=4096, "bytes",
            "Width of the data port: writes hold it for size/width beats. 16 bytes as in gem5; products have 64 to 512 bits.";
        configurations: u32 = 64, 1..=4096, "entries",
            "Streams whose configuration the TBU knows; MMU-600's micro TLB doubles as this cache. Looked up with the TLB, at no cost of its own.";
        output_cycles: u64 = 0, 0..=LONGEST, "cycles",
            "Cycles from translated to sent on. 0 counts translation only; gem5 counts 1 for its request port.";
        completion: Completion = Completion::Stream, (), "",
            "AXI keeps transactions of one ID in order and lets others overtake; a stream stands for an ID here.";
    }
}

section! {
    /// The micro TLB of a TBU.
    MicroTlb {
        entries: u32 = 32, 0..=MOST_ENTRIES, "entries",
            "Entries; 0 leaves it out. MMU-700 has 4 to 64, gem5 32.";
        ways: u32 = 0, 0..=MOST_ENTRIES, "ways",
            "Ways of a set, 0 for fully associative, as MMU-600 documents its micro TLB to be.";
        policy: Policy = Policy::PseudoLru, (), "",
            "MMU-600 has round robin or pseudo-LRU by tie-off; Agilex 5 ties it to pseudo-LRU.";
        index: IndexBits = IndexBits::Hashed, (), "",
            "Set choice; without effect while fully associative.";
        latency_cycles: u64 = 1, 0..=LONGEST, "cycles",
            "Time of a lookup: 1 as in gem5; MMU-500 states 2 clocks for a whole hit.";
        lookups: u32 = 1, 1..=1024, "lookups",
            "Lookups under way at once; lookups divided by latency start a cycle.";
    }
}

section! {
    /// The main TLB of a TBU.
    MainTlb {
        entries: u32 = 1024, 0..=MOST_ENTRIES, "entries",
            "Entries; 0 leaves it out. MMU-700 has 0 or 32 to 65536.";
        ways: u32 = 4, 0..=MOST_ENTRIES, "ways",
            "Ways of a set, 0 for fully associative. MMU-600 documents 4, MMU-700 4, 8 or 16.";
        policy: Policy = Policy::Random, (), "",
            "MMU-600 documents random replacement of its main TLB.";
        index: IndexBits = IndexBits::Hashed, (), "",
            "Set choice: hashed, as strides are the rule in DMA; gem5 uses low address bits.";
        latency_cycles: u64 = 3, 0..=LONGEST, "cycles",
            "Time of a lookup: 3 as in gem5; with the micro TLB's 1 it brackets MMU-500's stated 2 to 3 clocks.";
        lookups: u32 = 4, 1..=1024, "lookups",
            "Lookups under way at once; lookups divided by latency start a cycle: at least one a cycle, as MMU-600 documents.";
    }
}

section! {
    /// Misses of a TBU that are on their way to the TCU.
    Hazard {
        merge: HazardMerge = HazardMerge::Translation, (), "",
            "MMU-600/700 send one request for each translation; public x86 measurements show hardware that does not merge.";
        entries: u32 = 16, 1..=4096, "entries",
            "Translations on their way that later misses are compared with; a miss that finds none free is sent unmerged. MMU-700 has 0 to 64.";
    }
}

section! {
    /// The link between a TBU and the TCU.
    Link {
        latency_cycles: u64 = 8, 0..=LONGEST, "cycles",
            "Time of one message, each way: 8 as in gem5; no product publishes it.";
        interval_cycles: u64 = 1, 1..=LONGEST, "cycles",
            "Time between two messages of one direction: one a cycle.";
    }
}

section! {
    /// The translation control unit.
    Tcu {
        request_slots: u32 = 64, 1..=65536, "requests",
            "Translation requests in progress in the TCU; further ones wait in its buffer. Agilex 5 has 64, MMU-700 4 to 4096.";
        configuration_slots: u32 = 4, 1..=4096, "fetches",
            "Configuration fetches at once: MMU-700 has 1, 2 or 4.";
        walk_slots: u32 = 16, 1..=4096, "walks",
            "Page table walks at once: gem5 has 16, MMU-700 2 to 512, MMU-500 8 a TBU.";
        walk_start_cycles: u64 = 0, 0..=LONGEST, "cycles",
            "Cycles at the start of a walk of one stage. gem5 counts 1.";
        step_cycles: u64 = 1, 0..=LONGEST, "cycles",
            "Cycles to work on one descriptor after it is read: 1 as in gem5.";
    }
}

section! {
    /// The configuration cache of the TCU: one entry holds STE and CD.
    ConfigurationCache {
        entries: u32 = 256, 0..=MOST_ENTRIES, "entries",
            "Entries; 0 leaves it out. Agilex 5 has 256, gem5 64, MMU-700 4 to 4096.";
        ways: u32 = 4, 0..=MOST_ENTRIES, "ways",
            "Ways of a set, 0 for fully associative: MMU-600 documents 4.";
        policy: Policy = Policy::RoundRobin, (), "",
            "MMU-600 documents round robin in the TCU's caches.";
        index: IndexBits = IndexBits::Hashed, (), "",
            "Set choice: hashed, so that functions of one bus do not collide.";
        latency_cycles: u64 = 3, 0..=LONGEST, "cycles",
            "Time of a lookup: 3 as in gem5.";
        lookups: u32 = 4, 1..=1024, "lookups",
            "Lookups under way at once; lookups divided by latency start a cycle.";
    }
}

section! {
    /// The caches of table descriptors in the TCU.
    WalkCache {
        layout: WalkCacheLayout = WalkCacheLayout::PerLevel, (), "",
            "MMU-600 has one cache for each stage and level, MMU-700 a unified one.";
        entries: u32 = 256, 0..=MOST_ENTRIES, "entries",
            "Entries of each cache; 0 leaves them out. Agilex 5 has 256 in each of its eight.";
        ways: u32 = 4, 0..=MOST_ENTRIES, "ways",
            "Ways of a set, 0 for fully associative: MMU-600 documents 4, MMU-700 4, 8 or 16.";
        policy: Policy = Policy::RoundRobin, (), "",
            "MMU-600 documents round robin; MMU-700 a form of re-reference prediction, for which pseudo-lru stands.";
        index: IndexBits = IndexBits::Hashed, (), "",
            "Set choice: hashed; gem5 uses low address bits.";
        probes: Probes = Probes::Parallel, (), "",
            "All levels at once, as a part with separate memories can; gem5 probes one after another.";
        latency_cycles: u64 = 4, 0..=LONGEST, "cycles",
            "Time of a probe: 4 as in gem5.";
        lookups: u32 = 4, 1..=1024, "lookups",
            "Probes under way at once; lookups divided by latency start a cycle.";
    }
}

section! {
    /// Translations by IPA in the TCU: of guests' tables, of CDs, and of final addresses.
    Stage2Tlb {
        entries: u32 = 256, 0..=MOST_ENTRIES, "entries",
            "Entries; 0 leaves it out. MMU-600 keeps final stage-2 translations in its S2L3 walk cache of 256; gem5 leaves its IPA cache out.";
        ways: u32 = 4, 0..=MOST_ENTRIES, "ways",
            "Ways of a set, 0 for fully associative: MMU-600 documents 4.";
        policy: Policy = Policy::RoundRobin, (), "",
            "MMU-600 documents round robin in the TCU's caches.";
        index: IndexBits = IndexBits::Hashed, (), "",
            "Set choice: hashed; gem5 takes the low bits of the address.";
        latency_cycles: u64 = 4, 0..=LONGEST, "cycles",
            "Time of a lookup. With parallel probes it coincides with that of the walk caches; with serial ones it comes before it.";
    }
}

section! {
    /// Memory, as the TCU reads tables and structures.
    Memory {
        latency_cycles: u64 = 100, 0..=LONGEST, "cycles",
            "From request to data: 100 ns at 1 GHz, a loaded DDR memory seen through an interconnect.";
        channels: u32 = 1, 1..=64, "channels",
            "Ports to memory, chosen by address in lines of 64 bytes: a TCU has one.";
        request_cycles: u64 = 1, 0..=LONGEST, "cycles",
            "Time the port needs to send a request: 1 as in gem5. Part of each access's latency.";
        bytes_per_cycle: u32 = 16, 1..=4096, "bytes",
            "Width of the port; an access keeps it busy for size/width cycles.";
        cache_hits: u32 = 0, 0..=1000, "per mille",
            "Share of accesses that a last-level cache answers. 0: table reads go to memory.";
        cache_latency_cycles: u64 = 30, 0..=LONGEST, "cycles",
            "Latency of those that it answers.";
        jitter_cycles: u64 = 0, 0..=LONGEST, "cycles",
            "Up to this many cycles, at random, on top of each access. 0 keeps formulae exact.";
        seed: u64 = 1, 0..=i64::MAX as u64, "seed",
            "Start of the generator behind cache hits, jitter and random replacement.";
        merge_entries: u32 = 16, 0..=1024, "entries",
            "Reads in flight that an identical read joins instead of going to memory: MMU-600/700 read once for several walks. 0 switches it off.";
    }
}

section! {
    /// The command queue and invalidation.
    Commands {
        fetch_bytes: u32 = 16, 16..=4096, "bytes",
            "Bytes of commands read at once: one command is 16.";
        execute_cycles: u64 = 1, 0..=LONGEST, "cycles",
            "Time to decode and carry out one command, invalidation apart.";
        invalidate_cycles: u64 = 4, 0..=LONGEST, "cycles",
            "Time one cache needs for one invalidation: a match of all entries at once. The link to the TBUs and back comes on top.";
        sync_write_cycles: u64 = 0, 0..=LONGEST, "cycles",
            "Time of the message that reports a CMD_SYNC, beyond the memory write it is.";
    }
}

section! {
    /// The event queue.
    Events {
        write_slots: u32 = 1, 1..=1024, "writes",
            "Event records being written at once: MMU-600 allows one write outstanding.";
        record_bytes: u32 = 32, 32..=32, "bytes",
            "Size of an event record, fixed by the architecture (IHI 0070 §7.3).";
    }
}

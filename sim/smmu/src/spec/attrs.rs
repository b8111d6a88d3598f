//! Encodings shared by several structures.

use super::open_enum;

open_enum! {
    /// Shareability, SHx.
    Sh {
        /// Non-shareable.
        NonShareable = 0,
        /// Outer Shareable.
        OuterShareable = 2,
        /// Inner Shareable.
        InnerShareable = 3,
    }
}

open_enum! {
    /// Granule of TTB0 and of stage 2: CD.TG0, STE.S2TG.
    Tg0 {
        /// 4 KiB.
        K4 = 0,
        /// 64 KiB.
        K64 = 1,
        /// 16 KiB.
        K16 = 2,
    }
}

open_enum! {
    /// Granule of TTB1: CD.TG1, encoded differently from TG0.
    Tg1 {
        /// 16 KiB.
        K16 = 1,
        /// 4 KiB.
        K4 = 2,
        /// 64 KiB.
        K64 = 3,
    }
}

open_enum! {
    /// Address size: CD.IPS, STE.S2PS, IDR5.OAS.
    Ps {
        /// 32 bits.
        Bits32 = 0,
        /// 36 bits.
        Bits36 = 1,
        /// 40 bits.
        Bits40 = 2,
        /// 42 bits.
        Bits42 = 3,
        /// 44 bits.
        Bits44 = 4,
        /// 48 bits.
        Bits48 = 5,
        /// 52 bits.
        Bits52 = 6,
        /// 56 bits.
        Bits56 = 7,
    }
}

open_enum! {
    /// STE.Config.
    SteConfig {
        /// Abort without an event.
        Abort = 0,
        /// Bypass both stages.
        Bypass = 4,
        /// Stage 1 translates.
        Stage1 = 5,
        /// Stage 2 translates.
        Stage2 = 6,
        /// Both stages translate.
        Nested = 7,
    }
}

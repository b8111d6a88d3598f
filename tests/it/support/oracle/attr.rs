//! Memory attributes (ref 4.6): overrides, MAIR, stage-2 combination, final consistency.

use super::{Attrs, Cache, Policy, Type, bits};

const NON_CACHEABLE: Cache = Cache {
    policy: Policy::Nc,
    ra: false,
    wa: false,
    tr: false,
};

/// The attribute override fields of an STE or of GBPA.
#[derive(Clone, Copy)]
pub(super) struct Override {
    pub(super) mtcfg: bool,
    pub(super) memattr: u64,
    pub(super) shcfg: u64,
    pub(super) alloccfg: u64,
}

impl Override {
    /// Everything as it came in.
    pub(super) const INCOMING: Self = Self {
        mtcfg: false,
        memattr: 0,
        shcfg: 1,
        alloccfg: 0,
    };
}

/// Applies the overrides to incoming attributes.
pub(super) fn over(incoming: Attrs, cfg: Override) -> Attrs {
    let mut out = incoming;
    if cfg.mtcfg {
        out.ty = with_policies(incoming.ty, memattr(cfg.memattr, false));
    }
    if let Type::Normal { inner, outer } = &mut out.ty {
        let cacheable = [&inner, &outer]
            .iter()
            .any(|level| level.policy != Policy::Nc);
        if cacheable {
            match cfg.shcfg {
                1 => {}
                sh => out.sh = sh as u8,
            }
        }
        if bits(cfg.alloccfg, 3, 3) == 1 {
            for level in [inner, outer] {
                level.ra = bits(cfg.alloccfg, 2, 2) == 1;
                level.wa = bits(cfg.alloccfg, 1, 1) == 1;
                level.tr = bits(cfg.alloccfg, 0, 0) == 1;
            }
        }
    }
    consistent(out)
}

/// What a stage-2 MemAttr[3:0] (or STE.MemAttr) says, without hints: a Device type, or inner and outer policy.
#[derive(Clone, Copy)]
enum Said {
    Device(u8),
    Normal { inner: Policy, outer: Policy },
}

fn memattr(value: u64, mteperm: bool) -> Said {
    let policy = |v| match v {
        1 => Policy::Nc,
        2 => Policy::Wt,
        _ => Policy::Wb,
    };
    match (bits(value, 3, 2), bits(value, 1, 0)) {
        (0, dd) => Said::Device(dd as u8),
        (1, 0) if mteperm => Said::Normal {
            inner: Policy::Wb,
            outer: Policy::Wb,
        },
        (_, 0) => Said::Device(0),
        (outer, inner) => Said::Normal {
            inner: policy(inner),
            outer: policy(outer),
        },
    }
}

/// Whether a stage-2 leaf makes its memory Device: what S2PTW looks at.
pub(super) fn stage2_is_device(value: StageTwoMemAttr, fwb: bool) -> bool {
    if fwb {
        bits(value.bits, 2, 2) == 0
    } else {
        matches!(memattr(value.bits, value.mteperm), Said::Device(_))
    }
}

/// Descriptor bits [5:2] of a stage-2 leaf, and IDR3.MTEPERM, which gives one encoding a meaning.
#[derive(Clone, Copy)]
pub(super) struct StageTwoMemAttr {
    pub(super) bits: u64,
    pub(super) mteperm: bool,
}

/// A level's hints kept if it was cacheable, else RA, WA and non-transient.
fn with_policy(old: Option<Cache>, policy: Policy) -> Cache {
    match (old, policy) {
        (_, Policy::Nc) => NON_CACHEABLE,
        (Some(old), _) if old.policy != Policy::Nc => Cache { policy, ..old },
        _ => Cache {
            policy,
            ra: true,
            wa: true,
            tr: false,
        },
    }
}

fn with_policies(old: Type, said: Said) -> Type {
    let (old_inner, old_outer) = match old {
        Type::Device(_) => (None, None),
        Type::Normal { inner, outer } => (Some(inner), Some(outer)),
    };
    match said {
        Said::Device(d) => Type::Device(d),
        Said::Normal { inner, outer } => Type::Normal {
            inner: with_policy(old_inner, inner),
            outer: with_policy(old_outer, outer),
        },
    }
}

/// The stage-1 result: a MAIR byte, a shareability, and hints combined with a cacheable input.
pub(super) fn stage1(mair: u64, sh: u64, input: Attrs) -> Attrs {
    let high = bits(mair, 7, 4);
    let low = bits(mair, 3, 0);
    let ty = if high == 0 {
        Type::Device(bits(mair, 3, 2) as u8)
    } else {
        let (mut inner, mut outer) = (mair_level(low), mair_level(high));
        if let Type::Normal {
            inner: from_inner,
            outer: from_outer,
        } = input.ty
        {
            inner = hints_with(inner, from_inner);
            outer = hints_with(outer, from_outer);
        }
        Type::Normal { inner, outer }
    };
    consistent(Attrs { ty, sh: sh as u8 })
}

/// One non-Device nibble of a MAIR byte. A zero low nibble below a non-zero high one acts as transient WT, RA, WA.
fn mair_level(nibble: u64) -> Cache {
    let (ra, wa) = (bits(nibble, 1, 1) == 1, bits(nibble, 0, 0) == 1);
    match nibble {
        0b0000 => Cache {
            policy: Policy::Wt,
            ra: true,
            wa: true,
            tr: true,
        },
        0b0100 => NON_CACHEABLE,
        0b0001..=0b0011 => Cache {
            policy: Policy::Wt,
            ra,
            wa,
            tr: true,
        },
        0b0101..=0b0111 => Cache {
            policy: Policy::Wb,
            ra,
            wa,
            tr: true,
        },
        0b1000..=0b1011 => Cache {
            policy: Policy::Wt,
            ra,
            wa,
            tr: false,
        },
        _ => Cache {
            policy: Policy::Wb,
            ra,
            wa,
            tr: false,
        },
    }
}

/// No-allocate beats allocate, transient beats non-transient; a Non-cacheable input has no say.
fn hints_with(own: Cache, input: Cache) -> Cache {
    if input.policy == Policy::Nc {
        return own;
    }
    Cache {
        policy: own.policy,
        ra: own.ra && input.ra,
        wa: own.wa && input.wa,
        tr: own.tr || input.tr,
    }
}

/// Combines the attributes before stage 2 (stage 1's, or the input's) with a stage-2 leaf.
pub(super) fn combine(first: Attrs, second: StageTwoMemAttr, sh: u64, fwb: bool) -> Attrs {
    let ty = if fwb {
        combine_fwb(first.ty, second)
    } else {
        combine_weakest(first.ty, second)
    };
    let sh = match (reserved_is_nsh(first.sh), reserved_is_nsh(sh as u8)) {
        (2, _) | (_, 2) => 2,
        (3, _) | (_, 3) => 3,
        _ => 0,
    };
    consistent(Attrs { ty, sh })
}

fn combine_weakest(first: Type, second: StageTwoMemAttr) -> Type {
    match (first, memattr(second.bits, second.mteperm)) {
        (Type::Device(a), Said::Device(b)) => Type::Device(a.min(b)),
        (Type::Device(a), Said::Normal { .. }) => Type::Device(a),
        (Type::Normal { .. }, Said::Device(b)) => Type::Device(b),
        (Type::Normal { inner, outer }, Said::Normal { inner: i, outer: o }) => Type::Normal {
            inner: Cache {
                policy: inner.policy.min(i),
                ..inner
            },
            outer: Cache {
                policy: outer.policy.min(o),
                ..outer
            },
        },
    }
}

fn combine_fwb(first: Type, second: StageTwoMemAttr) -> Type {
    let dd = bits(second.bits, 1, 0) as u8;
    match (bits(second.bits, 2, 0), first) {
        (0..=3, Type::Device(a)) => Type::Device(a.min(dd)),
        (0..=3, Type::Normal { .. }) => Type::Device(dd),
        (4 | 5, Type::Normal { .. }) => Type::Normal {
            inner: NON_CACHEABLE,
            outer: NON_CACHEABLE,
        },
        (6, _) => with_policies(
            first,
            Said::Normal {
                inner: Policy::Wb,
                outer: Policy::Wb,
            },
        ),
        _ => first,
    }
}

fn reserved_is_nsh(sh: u8) -> u8 {
    if sh == 1 { 0 } else { sh }
}

/// A Non-cacheable level has no hints; a level that never allocates is not transient.
fn consistent(attrs: Attrs) -> Attrs {
    let level = |c: Cache| match c.policy {
        Policy::Nc => NON_CACHEABLE,
        _ => Cache {
            tr: c.tr && (c.ra || c.wa),
            ..c
        },
    };
    let ty = match attrs.ty {
        Type::Normal { inner, outer } => Type::Normal {
            inner: level(inner),
            outer: level(outer),
        },
        device @ Type::Device(_) => device,
    };
    Attrs {
        ty,
        sh: reserved_is_nsh(attrs.sh),
    }
}

/// The attributes as they leave: Device and iNC-oNC are Outer Shareable.
pub(super) fn finish(attrs: Attrs) -> Attrs {
    let out = consistent(attrs);
    match out.ty {
        Type::Normal { inner, outer }
            if inner.policy != Policy::Nc || outer.policy != Policy::Nc =>
        {
            out
        }
        _ => Attrs { sh: 2, ..out },
    }
}

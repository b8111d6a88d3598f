//! What an access read, field by field, as `decode` shows a raw word.

use smmu::config::SmmuConfig;
use smmu::observe::Structure;
use smmu::spec::cd::Cd;
use smmu::spec::ste::Ste;

use super::Explained;
use super::record::{Recorded, Row};
use crate::decode::{self, Decoded, Format, Kind, Table};

/// log2 of the granules that TG0 encodes; 0b11 is reserved and never walked.
const TG0: [u8; 4] = [12, 16, 14, 12];
/// The same for TG1; 0b00 is reserved.
const TG1: [u8; 4] = [12, 14, 12, 16];

/// The fields of what `row` read or wrote; `None` if memory refused. What is illegal about them is
/// the outcome's matter: the part is not known here.
pub(super) fn decoded(row: &Row, explained: &Explained) -> Option<Decoded> {
    let part = SmmuConfig::full();
    let kind = match row.structure {
        Structure::L1Std => Kind::L1Std,
        Structure::Ste => Kind::Ste,
        Structure::L1Cd => Kind::L1Cd,
        Structure::Cd => Kind::Cd,
        Structure::Stage1(level) => Kind::Pte(stage1(level, explained)),
        Structure::Stage2(level) => Kind::Pte(stage2(level, explained)),
    };
    Some(match &row.recorded {
        Recorded::Word(word) | Recorded::Update { new: word, .. } => {
            decode::structure(kind, &[*word], &part)
        }
        Recorded::Structure(words) => decode::structure(kind, words, &part),
        Recorded::Aborted => return None,
    })
}

fn format(ds: bool) -> Format {
    if ds { Format::Lpa2 } else { Format::Bits48 }
}

fn stage1(level: i8, explained: &Explained) -> Table {
    let words = explained.recording.cd().copied().unwrap_or_default();
    let cd = Cd::from_words(words);
    let upper = explained.transaction.address.get() >> 55 & 1 != 0;
    let granule_log2 = if upper {
        TG1[usize::from(cd.dw0.tg1().0 & 3)]
    } else {
        TG0[usize::from(cd.dw0.tg0().0 & 3)]
    };
    Table {
        stage: 1,
        granule_log2,
        level,
        format: format(cd.dw2.ds()),
    }
}

fn stage2(level: i8, explained: &Explained) -> Table {
    let words = explained.recording.ste().copied().unwrap_or_default();
    let ste = Ste::from_words(words);
    Table {
        stage: 2,
        granule_log2: TG0[usize::from(ste.dw2.s2tg().0 & 3)],
        level,
        format: format(ste.dw3.s2ds()),
    }
}

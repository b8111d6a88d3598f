//! Semantics by name: `v13`, `fixed`, `6.1`, `fixed+D7`, `v13-D1`.

use iommu_core::semantics::{LaterGroup, PasidPolicy, SeriesVfio};
use iommu_core::{Defect, Errno, Kernel, Semantics};

/// Semantics and what they are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// As it was written.
    pub name: String,
    /// The value.
    pub semantics: Semantics,
}

/// Who shares a PASID table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// (A) All domains of the container, as posted.
    AllDomains,
    /// (B) SET only while the container holds one group; refused with this error otherwise.
    OneGroup(Errno),
    /// (C) One stage 2 for each SMMU, shared across containers; a table for each container.
    SharedStage2,
}

/// Presets by name.
fn preset(name: &str) -> Option<Semantics> {
    Some(match name {
        "v11" => Semantics::as_posted(SeriesVfio::V11),
        "v12" => Semantics::as_posted(SeriesVfio::V12),
        "v13" => Semantics::as_posted(SeriesVfio::V13),
        "fixed" => Semantics::fixed(),
        "5.10" => Semantics::kernel(Kernel::V5_10),
        "6.1" => Semantics::kernel(Kernel::V6_1),
        "6.12" => Semantics::kernel(Kernel::V6_12),
        "7.2" => Semantics::kernel(Kernel::V7_2),
        _ => return None,
    })
}

/// A preset with defects added (`+D7`) or taken away (`-D1`).
///
/// # Errors
/// What is wrong with the name.
pub fn semantics(name: &str) -> Result<Named, String> {
    let end = name.find(['+', '-']).unwrap_or(name.len());
    let (base, mut rest) = name.split_at(end);
    let mut semantics = preset(base)
        .ok_or_else(|| format!("{name:?}: none of v11, v12, v13, fixed, 5.10, 6.1, 6.12, 7.2"))?;
    while !rest.is_empty() {
        let (sign, after) = rest.split_at(1);
        let end = after.find(['+', '-']).unwrap_or(after.len());
        let (word, later) = after.split_at(end);
        let number = word
            .strip_prefix('D')
            .and_then(|number| number.parse().ok());
        let defect = number.and_then(|number: u8| {
            let all = Defect::ALL.iter().copied();
            all.into_iter().find(|defect| defect.number() == number)
        });
        let defect = defect.ok_or_else(|| format!("{name:?}: {word:?} is none of D1 to D30"))?;
        semantics.defects = if sign == "+" {
            semantics.defects.with(defect)
        } else {
            semantics.defects.without(defect)
        };
        rest = later;
    }
    Ok(Named {
        name: name.to_owned(),
        semantics,
    })
}

impl Named {
    /// The same under another policy; nothing changes without the series.
    #[must_use]
    pub fn under(mut self, policy: Policy) -> Self {
        if let Some(series) = &mut self.semantics.series {
            series.policy = match policy {
                Policy::AllDomains => PasidPolicy::AllDomains,
                Policy::OneGroup(refusal) => PasidPolicy::OneGroup {
                    refusal,
                    later: LaterGroup::Refuse(refusal),
                },
                Policy::SharedStage2 => PasidPolicy::SharedStage2,
            };
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{Defect, semantics};

    #[test]
    fn names_are_presets_with_defects_added_or_taken_away() {
        let named = semantics("fixed+D7+D16-D7").unwrap().semantics;
        assert!(named.has(Defect::NoInvalidationOnSet));
        assert!(!named.has(Defect::LaterDomainsMissTable));
        for wrong in ["v14", "fixed+D31", "fixed+", "D1"] {
            assert!(semantics(wrong).is_err(), "{wrong}");
        }
    }
}

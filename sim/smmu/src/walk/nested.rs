//! Both stages joined: the translation of one transaction whose configuration is known.

use super::{Lookaside, Stage1, Stage1Leaf, Stage2, Stage2Leaf, Walker};
use crate::addr::{Iova, Ipa, Pa};
use crate::attr::Attributes;
use crate::fault::Raised;
use crate::mem::PhysMem;
use crate::observe::{Observer, Purpose};
use crate::perm::Request;
use crate::transaction::AccessKind;

/// Output of the stages a stream uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) pa: Pa,
    pub(crate) attributes: Attributes,
    pub(crate) span_log2: u8,
    pub(crate) kind: AccessKind,
}

/// The leaves a translation went through, for a cache to remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaves {
    pub(crate) stage1: Option<Stage1Leaf>,
    pub(crate) stage2: Option<Stage2Leaf>,
}

impl<M: PhysMem + ?Sized, O: Observer + ?Sized, C: Lookaside> Walker<'_, M, O, C> {
    /// Stage 1 only.
    #[inline(always)]
    pub(crate) fn walk_stage1(
        &mut self,
        s1: &Stage1,
        input: Iova,
        request: Request,
        incoming: Attributes,
    ) -> Result<(Walked, Leaves), Raised> {
        let leaf = self.stage1(s1, None, input, request)?;
        let walked = Walked {
            pa: Pa::new(leaf.output),
            attributes: leaf.attributes.with_input_hints(incoming),
            span_log2: leaf.span_log2,
            kind: leaf.kind,
        };
        let leaves = Leaves {
            stage1: Some(leaf),
            stage2: None,
        };
        Ok((walked, leaves))
    }

    /// Stage 2 only: the input is the IPA.
    #[inline(always)]
    pub(crate) fn walk_stage2(
        &mut self,
        s2: &Stage2,
        input: Iova,
        request: Request,
        incoming: Attributes,
    ) -> Result<(Walked, Leaves), Raised> {
        let leaf = self
            .stage2(s2, Ipa::new(input.get()), Purpose::Input, request)
            .map_err(|cause| Raised::of_stage(cause, s2.disposition))?;
        let walked = Walked {
            pa: leaf.pa,
            attributes: incoming.combine_stage2(s2.attributes(leaf.descriptor)),
            span_log2: leaf.span_log2,
            kind: leaf.kind,
        };
        let leaves = Leaves {
            stage1: None,
            stage2: Some(leaf),
        };
        Ok((walked, leaves))
    }

    /// Stage 1, then stage 2 of its output.
    #[inline(always)]
    pub(crate) fn walk_nested(
        &mut self,
        s1: &Stage1,
        s2: &Stage2,
        input: Iova,
        request: Request,
        incoming: Attributes,
    ) -> Result<(Walked, Leaves), Raised> {
        let first = self.stage1(s1, Some(s2), input, request)?;
        let request = Request {
            kind: first.kind,
            ..request
        };
        let second = self
            .stage2(s2, Ipa::new(first.output), Purpose::Input, request)
            .map_err(|cause| Raised::of_stage(cause, s2.disposition))?;
        let stage1 = first.attributes.with_input_hints(incoming);
        let walked = Walked {
            pa: second.pa,
            attributes: stage1.combine_stage2(s2.attributes(second.descriptor)),
            span_log2: first.span_log2.min(second.span_log2),
            kind: second.kind,
        };
        let leaves = Leaves {
            stage1: Some(first),
            stage2: Some(second),
        };
        Ok((walked, leaves))
    }
}

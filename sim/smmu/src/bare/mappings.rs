//! What a table shall map, before there is a table.

use core::marker::PhantomData;

use crate::addr::Address;
use crate::tables::Geometry;

/// What devices may do with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Allow {
    /// Read it.
    Read,
    /// Read and write it.
    ReadWrite,
}

/// What a range of addresses is mapped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Leaves {
    /// Pages of the granule: a walk has all its levels.
    #[default]
    Pages,
    /// The largest pages and blocks that fit.
    Largest,
}

/// Attribute bits of a leaf descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attributes {
    /// Normal memory that devices may use so.
    Normal(Allow),
    /// These bits.
    Bits(u64),
}

/// A range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) bytes: u64,
    pub(super) attributes: Attributes,
}

/// Ranges of the address space `I` and where in `O` they lead: what one page table shall hold.
///
/// Sizes are in bytes. Whether they fit the granule shows when the machine is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mappings<I, O> {
    pub(super) ranges: Vec<Range>,
    pub(super) geometry: Option<Geometry>,
    pub(super) leaves: Leaves,
    spaces: PhantomData<(I, O)>,
}

impl<I, O> Default for Mappings<I, O> {
    fn default() -> Self {
        Self {
            ranges: Vec::new(),
            geometry: None,
            leaves: Leaves::default(),
            spaces: PhantomData,
        }
    }
}

impl<I: Address, O: Address> Mappings<I, O> {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same and `bytes` of Normal write-back, Inner Shareable memory at `output`.
    #[must_use]
    pub fn map(self, input: I, output: O, bytes: u64, allow: Allow) -> Self {
        self.with(input, output, bytes, Attributes::Normal(allow))
    }

    /// The same and `bytes` at `output`, whose leaf descriptors have these attribute bits
    /// (DDI 0487 §D8.3.1): for what [`Allow`] does not say.
    #[must_use]
    pub fn map_as(self, input: I, output: O, bytes: u64, descriptor_bits: u64) -> Self {
        self.with(input, output, bytes, Attributes::Bits(descriptor_bits))
    }

    fn with(mut self, input: I, output: O, bytes: u64, attributes: Attributes) -> Self {
        self.ranges.push(Range {
            input: input.number(),
            output: output.number(),
            bytes,
            attributes,
        });
        self
    }

    /// The same in a table of this shape. Otherwise: the smallest granule the part has, 48 input bits,
    /// or what the part's output size allows stage 2.
    #[must_use]
    pub fn in_shape(mut self, geometry: Geometry) -> Self {
        self.geometry = Some(geometry);
        self
    }

    /// The same, mapped by pages or by what is largest.
    #[must_use]
    pub fn by(mut self, leaves: Leaves) -> Self {
        self.leaves = leaves;
        self
    }

    /// Where an input address leads, if it is mapped.
    pub fn output(&self, input: I) -> Option<u64> {
        self.lookup(input.number())
    }

    pub(super) fn lookup(&self, input: u64) -> Option<u64> {
        self.ranges.iter().find_map(|range| {
            let offset = input.checked_sub(range.input)?;
            (offset < range.bytes).then(|| range.output.wrapping_add(offset))
        })
    }
}

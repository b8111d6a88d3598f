//! VMSAv8-64 page tables, built entry by entry.

use thiserror::Error;

use super::{FrameSource, TableMemory};

/// Shape of a page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// log2 of the granule: 12, 14 or 16.
    pub granule_log2: u32,
    /// Input address bits, 64 − TxSZ.
    pub input_bits: u32,
    /// Start level, −1 to 3. Stage 2 may concatenate up to 16 tables there.
    pub start_level: i32,
    /// 52-bit descriptors of 4 KiB and 16 KiB tables (DS=1).
    pub lpa2: bool,
}

impl Geometry {
    /// The stage-1 shape for this granule and input size: one start table, as small as it can be.
    pub fn stage1(granule_log2: u32, input_bits: u32) -> Self {
        // What makes no sense makes a shape that [`PageTable::new`] refuses.
        let stride = granule_log2.saturating_sub(3).max(1);
        let levels = input_bits.saturating_sub(1 + granule_log2) / stride;
        Self {
            granule_log2,
            input_bits,
            start_level: 3 - levels as i32,
            lpa2: false,
        }
    }

    /// The stage-2 shape for this granule and input size, as Linux picks it: where up to 16 tables
    /// side by side spare a level, they do.
    pub fn stage2(granule_log2: u32, input_bits: u32) -> Self {
        let one_table = Self::stage1(granule_log2, input_bits);
        let below = one_table.lsb(one_table.start_level);
        let concatenates = one_table.start_level < 3 && input_bits.saturating_sub(below) <= 4;
        Self {
            start_level: one_table.start_level + i32::from(concatenates),
            ..one_table
        }
    }

    /// Whether there are tables of this shape.
    fn exists(&self) -> bool {
        let per_table = self.granule_log2.saturating_sub(3);
        matches!(self.granule_log2, 12 | 14 | 16)
            && (-1..=3).contains(&self.start_level)
            && self.input_bits <= 52
            // Up to 16 tables side by side at the start level.
            && (self.lsb(self.start_level)..=self.lsb(self.start_level) + per_table + 4)
                .contains(&self.input_bits)
    }

    /// Lowest input bit that `level` resolves.
    pub fn lsb(&self, level: i32) -> u32 {
        let below = u32::try_from(3 - level).unwrap_or(0);
        self.granule_log2 + (self.granule_log2 - 3) * below
    }
}

/// Why a mapping cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MapError {
    /// The frame source is exhausted.
    #[error("no memory left for a table")]
    NoFrames,
    /// There are no tables of this shape.
    #[error("no table has this shape: {0:?}")]
    Geometry(Geometry),
    /// A table lies where there is no memory.
    #[error("the table at {0:#x} is not in memory")]
    NotInMemory(u64),
    /// No level has blocks of this size, or the addresses are not aligned to it.
    #[error("{input:#x} to {output:#x}: no page or block of 2^{span_log2} bytes fits")]
    Shape {
        /// Input address.
        input: u64,
        /// Output address.
        output: u64,
        /// log2 of the size asked for.
        span_log2: u32,
    },
    /// The input address is beyond the table.
    #[error("{0:#x} is beyond the table's input size")]
    OutOfRange(u64),
    /// A block or page is already there.
    #[error("{0:#x} is already mapped")]
    Occupied(u64),
    /// There is no block or page.
    #[error("{0:#x} is not mapped")]
    NotMapped(u64),
}

/// A block or page descriptor where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Address of the descriptor, as the table's memory is addressed.
    pub at: u64,
    /// The descriptor.
    pub descriptor: u64,
    /// log2 of the bytes it maps.
    pub span_log2: u32,
}

/// A page table under construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageTable {
    geometry: Geometry,
    root: u64,
    tables: u64,
}

const VALID_TABLE_OR_PAGE: u64 = 3;
const VALID_BLOCK: u64 = 1;

impl PageTable {
    /// An empty table whose start table comes from `frames`.
    ///
    /// # Errors
    /// [`MapError::Geometry`], [`MapError::NoFrames`].
    pub fn new(geometry: Geometry, frames: &mut impl FrameSource) -> Result<Self, MapError> {
        if !geometry.exists() {
            return Err(MapError::Geometry(geometry));
        }
        let index_bits = geometry.input_bits - geometry.lsb(geometry.start_level);
        // 64 bytes is the least alignment any output size asks for.
        let root = frames
            .take((index_bits + 3).max(6))
            .ok_or(MapError::NoFrames)?;
        Ok(Self {
            geometry,
            root,
            tables: 1,
        })
    }

    /// Address of the start table: TTBx or S2TTB.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// The shape.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Tables made so far, the start table among them.
    pub fn tables(&self) -> u64 {
        self.tables
    }

    /// Maps one page or block of `1 << span_log2` bytes with the given attribute bits.
    ///
    /// # Errors
    /// [`MapError`]; nothing but empty tables on the way has been written then.
    pub fn map(
        &mut self,
        memory: &mut impl TableMemory,
        frames: &mut impl FrameSource,
        input: u64,
        output: u64,
        span_log2: u32,
        attributes: u64,
    ) -> Result<(), MapError> {
        let Geometry {
            granule_log2,
            input_bits,
            start_level,
            ..
        } = self.geometry;
        if input >> input_bits != 0 {
            return Err(MapError::OutOfRange(input));
        }
        let leaf = (start_level..=3)
            .find(|&level| self.geometry.lsb(level) == span_log2)
            .filter(|_| (input | output) & ((1 << span_log2) - 1) == 0)
            .ok_or(MapError::Shape {
                input,
                output,
                span_log2,
            })?;
        let mut table = self.root;
        for level in start_level..leaf {
            let at = self.entry(table, input, level);
            let found = memory.get(at).map_err(|_| MapError::NotInMemory(at))?;
            table = match found & 3 {
                VALID_TABLE_OR_PAGE => self.decode(found, granule_log2),
                VALID_BLOCK => return Err(MapError::Occupied(input)),
                _ => {
                    let next = frames.take(granule_log2).ok_or(MapError::NoFrames)?;
                    let descriptor = self.encode(next) | VALID_TABLE_OR_PAGE;
                    memory
                        .set(at, descriptor)
                        .map_err(|_| MapError::NotInMemory(at))?;
                    self.tables += 1;
                    next
                }
            };
        }
        let at = self.entry(table, input, leaf);
        if memory.get(at).map_err(|_| MapError::NotInMemory(at))? & 1 != 0 {
            return Err(MapError::Occupied(input));
        }
        let kind = if leaf == 3 {
            VALID_TABLE_OR_PAGE
        } else {
            VALID_BLOCK
        };
        let descriptor = self.encode(output) | attributes | kind;
        memory
            .set(at, descriptor)
            .map_err(|_| MapError::NotInMemory(at))
    }

    /// The block or page that maps `input`.
    ///
    /// # Errors
    /// [`MapError::NotMapped`], [`MapError::OutOfRange`], [`MapError::NotInMemory`].
    pub fn leaf(&self, memory: &mut impl TableMemory, input: u64) -> Result<Leaf, MapError> {
        let Geometry {
            granule_log2,
            input_bits,
            start_level,
            ..
        } = self.geometry;
        if input >> input_bits != 0 {
            return Err(MapError::OutOfRange(input));
        }
        let mut table = self.root;
        for level in start_level..=3 {
            let at = self.entry(table, input, level);
            let descriptor = memory.get(at).map_err(|_| MapError::NotInMemory(at))?;
            let is_leaf = match descriptor & 3 {
                VALID_TABLE_OR_PAGE => level == 3,
                VALID_BLOCK if level < 3 => true,
                _ => return Err(MapError::NotMapped(input)),
            };
            if is_leaf {
                let span_log2 = self.geometry.lsb(level);
                return Ok(Leaf {
                    at,
                    descriptor,
                    span_log2,
                });
            }
            table = self.decode(descriptor, granule_log2);
        }
        Err(MapError::NotMapped(input))
    }

    /// Clears the block or page that maps `input`; what it was. Tables on the way stay.
    ///
    /// # Errors
    /// As [`leaf`](Self::leaf).
    pub fn unmap(&mut self, memory: &mut impl TableMemory, input: u64) -> Result<Leaf, MapError> {
        let leaf = self.leaf(memory, input)?;
        memory
            .set(leaf.at, 0)
            .map_err(|_| MapError::NotInMemory(leaf.at))?;
        Ok(leaf)
    }

    /// Overwrites the block or page that maps `input` with another output address and other
    /// attributes, without a moment in which it is invalid; what it was.
    ///
    /// # Errors
    /// As [`leaf`](Self::leaf), and [`MapError::Shape`] if `output` is not aligned to it.
    pub fn rewrite(
        &mut self,
        memory: &mut impl TableMemory,
        input: u64,
        output: u64,
        attributes: u64,
    ) -> Result<Leaf, MapError> {
        let leaf = self.leaf(memory, input)?;
        if output & ((1 << leaf.span_log2) - 1) != 0 {
            return Err(MapError::Shape {
                input,
                output,
                span_log2: leaf.span_log2,
            });
        }
        let descriptor = self.encode(output) | attributes | leaf.descriptor & 3;
        memory
            .set(leaf.at, descriptor)
            .map_err(|_| MapError::NotInMemory(leaf.at))?;
        Ok(leaf)
    }

    /// Address of the descriptor for `input` at `level` in the table at `table`.
    fn entry(&self, table: u64, input: u64, level: i32) -> u64 {
        let bits = if level == self.geometry.start_level {
            self.geometry.input_bits - self.geometry.lsb(level)
        } else {
            self.geometry.granule_log2 - 3
        };
        table + (input >> self.geometry.lsb(level) & ((1 << bits) - 1)) * 8
    }

    fn encode(&self, address: u64) -> u64 {
        match (self.geometry.granule_log2, self.geometry.lpa2) {
            (16, _) => address & 0xffff_ffff_0000 | (address >> 48 & 0xf) << 12,
            (_, true) => address & 0x3_ffff_ffff_f000 | (address >> 50 & 3) << 8,
            (_, false) => address,
        }
    }

    fn decode(&self, descriptor: u64, lsb: u32) -> u64 {
        let from_lsb = u64::MAX << lsb;
        match (self.geometry.granule_log2, self.geometry.lpa2) {
            (16, _) => descriptor & 0xffff_ffff_0000 | (descriptor >> 12 & 0xf) << 48,
            (_, true) => descriptor & 0x3_ffff_ffff_ffff & from_lsb | (descriptor >> 8 & 3) << 50,
            (_, false) => descriptor & 0xffff_ffff_ffff & from_lsb,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::Ram;
    use crate::tables::{Bump, Physical};

    #[test]
    fn a_second_mapping_of_the_same_page_is_refused() {
        let ram = Ram::sparse();
        let mut memory = Physical(ram.port());
        let mut frames = Bump::new(0x1000, 0x10_0000);
        let mut table = PageTable::new(Geometry::stage1(12, 48), &mut frames).unwrap();
        table
            .map(&mut memory, &mut frames, 0x1000, 0x5000, 12, 0)
            .unwrap();
        assert_eq!(
            table.map(&mut memory, &mut frames, 0x1000, 0x6000, 12, 0),
            Err(MapError::Occupied(0x1000))
        );
        assert_eq!(table.tables(), 4);
        assert_eq!(
            table.map(&mut memory, &mut frames, 1 << 48, 0, 12, 0),
            Err(MapError::OutOfRange(1 << 48))
        );
        assert!(matches!(
            table.map(&mut memory, &mut frames, 0x2000, 0x800, 12, 0),
            Err(MapError::Shape { .. })
        ));
    }

    #[test]
    fn a_leaf_is_found_rewritten_and_cleared_where_it_was_put() {
        let ram = Ram::sparse();
        let mut memory = Physical(ram.port());
        let mut frames = Bump::new(0x1000, 0x10_0000);
        let mut table = PageTable::new(Geometry::stage1(12, 48), &mut frames).unwrap();
        let mut map = |table: &mut PageTable, input, output, span| {
            table.map(&mut memory, &mut frames, input, output, span, 1 << 10)
        };
        map(&mut table, 0x20_0000, 0x4000_0000, 21).unwrap();
        map(&mut table, 0x1000, 0x5000, 12).unwrap();
        let mut memory = Physical(ram.port());
        let block = table.leaf(&mut memory, 0x3f_ffff).unwrap();
        assert_eq!((block.descriptor, block.span_log2), (0x4000_0401, 21));
        let page = table.rewrite(&mut memory, 0x1000, 0x7000, 1 << 7).unwrap();
        assert_eq!((page.descriptor, page.span_log2), (0x5403, 12));
        assert_eq!(memory.get(page.at), Ok(0x7083));
        assert!(matches!(
            table.rewrite(&mut memory, 0x20_0000, 0x1000, 0),
            Err(MapError::Shape { .. })
        ));
        table.unmap(&mut memory, 0x1abc).unwrap();
        let gone = Err(MapError::NotMapped(0x1000));
        assert_eq!(table.leaf(&mut memory, 0x1000), gone);
        assert_eq!(memory.get(page.at), Ok(0));
    }
}

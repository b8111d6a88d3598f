//! What is done through a device's file.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::source::{Located, Number};

/// A region the series adds to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RegionName {
    /// Faults, for user space to read.
    Faults,
    /// Answers to page requests, for user space to write.
    Responses,
}

/// GET_REGION_INFO.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionInfo {
    /// The device.
    pub device: Located<String>,
    /// The region.
    pub region: Located<RegionName>,
    /// What of the answer is the step's value.
    pub field: Located<RegionField>,
}

/// A number of GET_REGION_INFO's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RegionField {
    /// Bytes of the region.
    Size,
    /// Its type, from the capability that has it.
    Type,
    /// Its subtype.
    Subtype,
    /// Number of the capability that is neither type nor sparse mapping.
    Capability,
}

/// GET_IRQ_INFO.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IrqInfo {
    /// The device.
    pub device: Located<String>,
    /// Which index.
    pub index: Located<Number>,
    /// What of the answer is the step's value.
    pub field: Located<IrqField>,
}

/// A number of GET_IRQ_INFO's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IrqField {
    /// Flags.
    Flags,
    /// Interrupts of the index.
    Count,
    /// Where the first capability is.
    CapOffset,
}

/// Four bytes of a region are read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadRegion {
    /// The device.
    pub device: Located<String>,
    /// The region.
    pub region: Located<RegionName>,
    /// Where in it.
    pub offset: Located<Number>,
}

/// Four bytes of a region are written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteRegion {
    /// The device.
    pub device: Located<String>,
    /// The region.
    pub region: Located<RegionName>,
    /// Where in it.
    pub offset: Located<Number>,
    /// What is written.
    pub value: Located<Number>,
}

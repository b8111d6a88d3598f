//! The machine an exploration runs on: groups, the SMMU each is behind, containers.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::topology::PciAddress;

/// Where a group is, and how many devices it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupPlace {
    /// Index of its SMMU.
    pub smmu: u32,
    /// Devices in it, at least one.
    pub devices: u32,
}

/// Groups and containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Groups, by number.
    pub groups: Vec<GroupPlace>,
    /// Containers.
    pub containers: usize,
}

/// Why a text is no layout.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?}: {1}")]
pub struct LayoutError(String, &'static str);

const GROUPS_MAX: usize = 16;
const SMMUS_MAX: u32 = 8;
const DEVICES_MAX: u32 = 8;
const CONTAINERS_MAX: usize = 8;

impl Layout {
    /// One device a group, one container.
    pub fn of(smmus: &[u32]) -> Self {
        let place = |smmu: &u32| GroupPlace {
            smmu: *smmu,
            devices: 1,
        };
        Self {
            groups: smmus.iter().map(place).collect(),
            containers: 1,
        }
    }

    /// The same with so many containers.
    #[must_use]
    pub fn with_containers(self, containers: usize) -> Self {
        Self { containers, ..self }
    }

    /// Number of SMMUs.
    pub fn smmus(&self) -> u32 {
        let last = self.groups.iter().map(|group| group.smmu).max();
        last.map_or(0, |last| last + 1)
    }

    /// Where a device is: a slot for each group, a function for each device.
    pub const fn address(group: usize, device: u32) -> PciAddress {
        PciAddress::new(0, group as u8 + 1, device as u8)
    }

    /// StreamID of a device: its PCI requester ID.
    pub const fn stream(group: usize, device: u32) -> u32 {
        Self::address(group, device).requester_id()
    }
}

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let wrong = |what| LayoutError(text.to_owned(), what);
        let (groups, containers) = text.split_once('/').unwrap_or((text, "1"));
        let containers = containers.parse().ok();
        let containers = containers
            .filter(|count| (1..=CONTAINERS_MAX).contains(count))
            .ok_or_else(|| wrong("after / comes the number of containers, 1 to 8"))?;
        let mut places = Vec::new();
        for group in groups.split(',') {
            let (smmu, devices) = group.split_once('x').unwrap_or((group, "1"));
            let smmu = smmu.trim().parse().ok();
            let devices = devices.trim().parse().ok();
            places.push(GroupPlace {
                smmu: smmu
                    .filter(|smmu| *smmu < SMMUS_MAX)
                    .ok_or_else(|| wrong("a group is the number of its SMMU, 0 to 7"))?,
                devices: devices
                    .filter(|count| (1..=DEVICES_MAX).contains(count))
                    .ok_or_else(|| wrong("after x comes the number of devices, 1 to 8"))?,
            });
        }
        if places.len() > GROUPS_MAX {
            return Err(wrong("at most 16 groups"));
        }
        Ok(Self {
            groups: places,
            containers,
        })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.groups.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", group.smmu)?;
            if group.devices > 1 {
                write!(f, "x{}", group.devices)?;
            }
        }
        if self.containers > 1 {
            write!(f, "/{}", self.containers)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn layouts_read_as_they_are_written() {
        for text in ["0", "0,1", "0x2,1,0/2"] {
            assert_eq!(text.parse::<Layout>().unwrap().to_string(), text);
        }
        for text in ["", "a", "9", "0x0", "0/0", "0/9", "0,,1"] {
            assert!(text.parse::<Layout>().is_err(), "{text}");
        }
    }
}

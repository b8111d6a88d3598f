//! What the timed machine is made of: every size, latency and policy, with unit, default and reason.
//!
//! Latencies and intervals are cycles of the SMMU's clock. The defaults describe a mid-sized
//! MMU-600/700-like part; the reasons name where each figure comes from. Other parts are presets,
//! kept as files by the program around this crate.

mod sections;
mod setting;

pub use sections::{
    Ats, Commands, Completion, ConfigurationCache, Device, Events, Hazard, HazardMerge, IndexBits,
    Link, MainTlb, Memory, MicroTlb, Policy, Probes, Stage2Tlb, Tbu, Tcu, UseOfAts, WalkCache,
    WalkCacheLayout,
};
pub use setting::{Field, Section, Setting, SettingError, Settings, Value};

crate::settings! {
    /// The whole machine.
    TimingConfig {
        /// Devices.
        device: Device,
        /// Those with ATS.
        ats: Ats,
        /// Translation buffer units.
        tbu: Tbu,
        /// Their first TLB.
        micro_tlb: MicroTlb,
        /// Their second TLB.
        main_tlb: MainTlb,
        /// Misses on the way.
        hazard: Hazard,
        /// TBU to TCU and back.
        link: Link,
        /// Translation control unit.
        tcu: Tcu,
        /// Its cache of STEs and CDs.
        configuration_cache: ConfigurationCache,
        /// Its caches of table descriptors.
        walk_cache: WalkCache,
        /// Its cache of translations by IPA.
        stage2_tlb: Stage2Tlb,
        /// Memory as the TCU sees it.
        memory: Memory,
        /// Command queue and invalidation.
        commands: Commands,
        /// Event queue.
        events: Events,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_can_be_read_and_set_to_its_default_and_explains_itself() {
        let mut config = TimingConfig::default();
        for field in TimingConfig::fields() {
            let key = field.key();
            assert_eq!(config.get(&key), Some(field.default.clone()), "{key}");
            assert_eq!(config.set(&key, &field.default), Ok(()), "{key}");
            assert!(field.reason.len() > 20, "{key} gives no reason");
            let is_number = matches!(field.default, Value::Number(_));
            assert_eq!(is_number, !field.unit.is_empty(), "{key}: unit");
        }
        assert_eq!(config, TimingConfig::default());
    }

    #[test]
    fn what_is_not_allowed_is_said_with_what_is() {
        let mut config = TimingConfig::default();
        let error = config.set("tcu.walk_slots", &Value::Number(0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tcu.walk_slots = 0: allowed is 1 to 4096"
        );
        let error = config.set("tbu.completion", &Value::Word("later".into()));
        assert_eq!(
            error.unwrap_err().to_string(),
            "tbu.completion = later: allowed is any, stream, all"
        );
        assert!(config.set("tbu", &Value::Number(0)).is_err());
        assert!(config.set("tbu.lanes", &Value::Number(0)).is_err());
        assert_eq!(config, TimingConfig::default());
    }
}

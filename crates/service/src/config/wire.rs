//! How values of other crates are written in a configuration that one process of the daemon hands to the other.

/// [`fsmon_format::stream::Codec`] as in the configuration's file.
pub(super) mod codec {
    use fsmon_format::stream::Codec;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(in super::super) fn serialize<S: Serializer>(
        codec: &Codec,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(codec)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Codec, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| D::Error::custom("an unknown codec"))
    }
}

/// [`fsmon_engine::config::Cpu`].
pub(super) mod cpu {
    use fsmon_engine::config::Cpu;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize, Serialize)]
    enum Wire {
        Auto,
        None,
        Pin(usize),
    }

    pub(in super::super) fn serialize<S: Serializer>(
        cpu: &Cpu,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let wire = match cpu {
            Cpu::None => Wire::None,
            Cpu::Pin(number) => Wire::Pin(*number),
            _ => Wire::Auto,
        };
        wire.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cpu, D::Error> {
        Ok(match Wire::deserialize(deserializer)? {
            Wire::Auto => Cpu::Auto,
            Wire::None => Cpu::None,
            Wire::Pin(number) => Cpu::Pin(number),
        })
    }
}

/// A rung, if any.
pub(super) mod rung {
    use fsmon_engine::config::Who;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(in super::super) fn serialize<S: Serializer>(
        rung: &Option<Who>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        rung.map(Who::name).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Who>, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        let unknown = |_| D::Error::custom("an unknown source of process names");
        name.map(|name| name.parse().map_err(unknown)).transpose()
    }
}

/// A condition on the size of a file, if any.
pub(super) mod size {
    use fsmon_present::size::Size;
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[expect(clippy::ref_option, reason = "as serde calls it")]
    pub(in super::super) fn serialize<S: Serializer>(
        size: &Option<Size>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match size {
            Some(size) => serializer.collect_str(size),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Size>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}

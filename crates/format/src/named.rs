//! Enums whose values have names in options, configuration and JSON: one list of names for parsing, printing and
//! errors.

use std::fmt;

/// The error for an unknown name; has the known names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownName(#[doc(hidden)] pub &'static [&'static str]);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write one of {}", self.0.join(", "))
    }
}

impl std::error::Error for UnknownName {}

/// Implements `ALL`, `name()`, `Display` and `FromStr` for an enum without fields.
#[doc(hidden)]
#[macro_export]
macro_rules! named {
    ($type:ident { $($value:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value.
            pub const ALL: &[$type] = &[$($type::$value),+];

            /// The name of the value.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$value => $name,)+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::named::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                let known = Self::ALL.iter().find(|value| value.name() == name);
                known.copied().ok_or($crate::named::UnknownName(&[$($name),+]))
            }
        }
    };
}

#[cfg(test)]
mod tests {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Colour {
        Red,
        Green,
    }

    named!(Colour { Red = "red", Green = "green" });

    #[test]
    fn each_name_is_read_as_it_is_written() {
        for colour in Colour::ALL {
            assert_eq!(colour.to_string().parse(), Ok(*colour));
        }
        assert_eq!(format!("{:>6}", Colour::Red), "   red");
        let unknown = "Red".parse::<Colour>().expect_err("names are in lower case");
        assert_eq!(unknown.to_string(), "write one of red, green");
    }
}

//! The machinery behind the option table of [`super::options`]: what a row says, and the macro that turns the rows into
//! a typed struct, its assignment by name, its display, and the list that validation and the manual page read.

use super::shown::Shown;

/// Where an option may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// In `[barman]`, from which every server inherits it.
    pub global: bool,
    /// In the section of a server.
    pub server: bool,
    /// In the section of a model.
    pub model: bool,
}

impl Scope {
    /// `[barman]`, servers and models.
    pub const GSM: Scope = Scope::new(true, true, true);
    /// `[barman]` and servers.
    pub const GS: Scope = Scope::new(true, true, false);
    /// Servers and models.
    pub const SM: Scope = Scope::new(false, true, true);
    /// Servers only.
    pub const S: Scope = Scope::new(false, true, false);
    /// Models only.
    pub const M: Scope = Scope::new(false, false, true);
    /// `[barman]` only, for the program itself.
    pub const G: Scope = Scope::new(true, false, false);

    const fn new(global: bool, server: bool, model: bool) -> Scope {
        Scope {
            global,
            server,
            model,
        }
    }
}

/// What the table says about one option.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Its name, in lower case, as it is written in the file.
    pub name: &'static str,
    /// Where it may be set.
    pub scope: Scope,
    /// Its default as it would be written in the file; `%(x)s` stands for another option of the same server.
    pub default: Option<&'static str>,
    /// What an empty value means.
    pub empty: Emptiness,
    /// What kind of value it takes, for the manual page: `boolean`, `integer`, `path` …
    pub kind: &'static str,
    /// The release of Barman that declared it obsolete.
    pub deprecated: Option<&'static str>,
    /// The release of barkeep that brought it, for an option that Barman does not have.
    pub own: Option<&'static str>,
    /// What it does.
    pub help: &'static [&'static str],
}

impl OptionSpec {
    /// The help text as one string, its lines joined by blanks.
    #[must_use]
    pub fn help_text(&self) -> String {
        self.help
            .iter()
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Why the text of a value was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// In Barman's words, as they appear after `Ignoring invalid configuration value … section: `.
    Reason(String),
    /// One word of a comma-separated set: the word, and what is wrong with it.
    Keyword(String, String),
}

impl Refusal {
    /// The reason in full, for the option `name` set in `place` (`[main] section`).
    #[must_use]
    pub(super) fn describe(&self, name: &str, place: &str) -> String {
        match self {
            Refusal::Reason(reason) => reason.clone(),
            Refusal::Keyword(word, reason) => {
                format!("Invalid configuration value '{word}' for key {name} in {place}: {reason}")
            }
        }
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Refusal::Reason(reason)
    }
}

/// What an empty value means for a kind of option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptiness {
    /// It is not a value: the inherited one or the default is used, with a warning.
    Refused,
    /// It is not a value: the inherited one or the default is used.
    Inherited,
    /// The option is set to nothing: neither the inherited value nor the default is used.
    Unset,
    /// It is a value like others (a set without members).
    Value,
}

/// The type of an option: how its text is read and shown.
pub(super) trait OptionType: Sized {
    /// The name of the kind of value, for the manual page.
    const KIND: &'static str;

    /// What an empty value means.
    const EMPTY: Emptiness = Emptiness::Refused;

    /// Reads the text of a value.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(text: &str) -> Result<Self, Refusal>;

    /// The value as `show-servers` and `diagnose` show it.
    fn shown(&self) -> Shown;
}

impl<T: OptionType> OptionType for Option<T> {
    const KIND: &'static str = T::KIND;
    const EMPTY: Emptiness = T::EMPTY;

    fn read(text: &str) -> Result<Self, Refusal> {
        T::read(text).map(Some)
    }

    fn shown(&self) -> Shown {
        self.as_ref().map_or(Shown::Null, T::shown)
    }
}

/// Turns rows `/// help` `[SCOPE] name: type = "default", deprecated "3.15", own "0.1";` into a struct with one public field per
/// row and a constant list of [`OptionSpec`].
macro_rules! options {
    (
        $(#[$struct_attribute:meta])*
        pub struct $structure:ident listed in $list:ident {
            $( $(#[$extra_attribute:meta])* pub $extra:ident: $extra_type:ty, )*
        }
        $(
            $(#[doc = $help:literal])+
            [$scope:ident] $name:ident: $type:ty $(= $default:literal)? $(, deprecated $deprecated:literal)?
            $(, own $own:literal)? ;
        )+
    ) => {
        $(#[$struct_attribute])*
        #[derive(Debug, Clone, Default)]
        pub struct $structure {
            $( $(#[$extra_attribute])* pub $extra: $extra_type, )*
            $( $(#[doc = $help])+ pub $name: $type, )+
        }

        #[doc = concat!("Every option of [`", stringify!($structure), "`], in alphabetical order.")]
        pub const $list: &[$crate::config::table::OptionSpec] = &[
            $( $crate::config::table::OptionSpec {
                name: stringify!($name),
                scope: $crate::config::table::Scope::$scope,
                default: $crate::config::table::optional!($($default)?),
                empty: <$type as $crate::config::table::OptionType>::EMPTY,
                kind: <$type as $crate::config::table::OptionType>::KIND,
                deprecated: $crate::config::table::optional!($($deprecated)?),
                own: $crate::config::table::optional!($($own)?),
                help: &[$($help),+],
            }, )+
        ];

        impl $structure {
            /// Reads `text` into the option `name`. An unknown name is an error.
            pub(super) fn assign(&mut self, name: &str, text: &str) -> Result<(), $crate::config::table::Refusal> {
                match name {
                    $( stringify!($name) => {
                        self.$name = <$type as $crate::config::table::OptionType>::read(text)?;
                    } )+
                    _ => return Err(format!("there is no option \"{name}\"").into()),
                }
                Ok(())
            }

            #[allow(dead_code)] // one of the structures has no use for it
            /// Empties the option `name`: what Barman shows as `None`.
            pub(super) fn clear(&mut self, name: &str) {
                match name {
                    $( stringify!($name) => self.$name = <$type>::default(), )+
                    _ => {}
                }
            }

            /// The value held by the field of option `name`.
            pub(super) fn held(&self, name: &str) -> $crate::config::shown::Shown {
                match name {
                    $( stringify!($name) => $crate::config::table::OptionType::shown(&self.$name), )+
                    _ => $crate::config::shown::Shown::Null,
                }
            }
        }
    };
}

/// `Some(literal)`, or `None` for nothing.
macro_rules! optional {
    () => {
        None
    };
    ($value:literal) => {
        Some($value)
    };
}

pub(super) use {optional, options};

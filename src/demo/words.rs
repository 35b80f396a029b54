//! Fields whose values are known words.

/// Declares the words a field may hold: an enum, all its values in order, and their spelling.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub(super) enum $name { $(#[serde(rename = $word)] $variant),+ }

        impl $crate::demo::words::Word for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}
pub(super) use words;

/// A field whose values are known.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// Every value, in the order in which people list them.
    const ALL: &'static [Self];

    /// The value as it is written.
    fn as_str(self) -> &'static str;

    /// Every value as it is written.
    fn words() -> Vec<&'static str> {
        Self::ALL.iter().map(|word| word.as_str()).collect()
    }

    /// The value that is written so.
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|word| word.as_str() == text)
    }
}

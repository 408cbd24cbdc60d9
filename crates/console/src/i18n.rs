//! The texts of the pages in English and Brazilian Portuguese. A text without one of them does not compile.

mod actions;
mod acts;
mod bulk;
mod causes;
mod checks;
mod errors;
mod everywhere;
mod found;
mod held_by;
mod pages;
mod refusals;
mod source_found;
mod states;
mod visit;
mod webhooks;

use chrono::TimeDelta;

pub use self::actions::Actions;
pub use self::acts::Acts;
pub use self::bulk::BulkTexts;
pub use self::causes::Causes;
pub use self::everywhere::Common;
pub use self::pages::Pages;
pub use self::states::States;
pub use self::visit::Visit;
pub use self::webhooks::WebhookTexts;

/// Declares the texts of one area: a name, the English text, the Portuguese text.
macro_rules! texts {
    ($area:ident { $($key:ident: $english:expr, $portuguese:expr;)* }) => {
        pub struct $area { $(pub $key: &'static str,)* }

        impl $area {
            pub const ENGLISH: Self = Self { $($key: $english,)* };
            pub const PORTUGUESE: Self = Self { $($key: $portuguese,)* };
            #[cfg(test)]
            pub const PAIRS: &'static [(&'static str, &'static str, &'static str)] =
                &[$((stringify!($key), $english, $portuguese),)*];
        }
    };
}
use texts;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Portuguese,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::Portuguese];

    /// The code in `lang` attributes and cookies.
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Portuguese => "pt-BR",
        }
    }

    /// Its name, in itself.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Portuguese => "Português",
        }
    }

    /// From a code such as `pt-BR`, `pt` or `en-GB`.
    pub fn parse(code: &str) -> Option<Self> {
        match code.split('-').next()?.to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "pt" => Some(Self::Portuguese),
            _ => None,
        }
    }

    pub const fn texts(self) -> &'static Texts {
        match self {
            Self::English => &ENGLISH,
            Self::Portuguese => &PORTUGUESE,
        }
    }
}

pub struct Texts {
    pub language: Language,
    pub common: Common,
    pub pages: Pages,
    pub states: States,
    pub causes: Causes,
    pub actions: Actions,
    pub acts: Acts,
    pub bulk: BulkTexts,
    pub webhooks: WebhookTexts,
    pub visit: Visit,
}

static ENGLISH: Texts = Texts {
    language: Language::English,
    common: Common::ENGLISH,
    pages: Pages::ENGLISH,
    states: States::ENGLISH,
    causes: Causes::ENGLISH,
    actions: Actions::ENGLISH,
    acts: Acts::ENGLISH,
    bulk: BulkTexts::ENGLISH,
    webhooks: WebhookTexts::ENGLISH,
    visit: Visit::ENGLISH,
};

static PORTUGUESE: Texts = Texts {
    language: Language::Portuguese,
    common: Common::PORTUGUESE,
    pages: Pages::PORTUGUESE,
    states: States::PORTUGUESE,
    causes: Causes::PORTUGUESE,
    actions: Actions::PORTUGUESE,
    acts: Acts::PORTUGUESE,
    bulk: BulkTexts::PORTUGUESE,
    webhooks: WebhookTexts::PORTUGUESE,
    visit: Visit::PORTUGUESE,
};

impl Texts {
    /// `1234567` as `1,234,567` or `1.234.567`.
    pub fn count(&self, number: i64) -> String {
        let separator = match self.language {
            Language::English => ',',
            Language::Portuguese => '.',
        };
        let digits = number.unsigned_abs().to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
        if number < 0 {
            text.push('-');
        }
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(separator);
            }
            text.push(digit);
        }
        text
    }

    /// A number with one decimal.
    pub fn decimal(&self, number: f64) -> String {
        let text = format!("{number:.1}");
        match self.language {
            Language::English => text,
            Language::Portuguese => text.replace('.', ","),
        }
    }

    /// A span in its two largest units: `42 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`; from ten minutes to an hour without
    /// seconds.
    pub fn span(&self, span: TimeDelta) -> String {
        let seconds = span.num_seconds().max(0);
        match seconds {
            ..60 => format!("{seconds} s"),
            60..600 => format!("{} min {} s", seconds / 60, seconds % 60),
            600..3_600 => format!("{} min", seconds / 60),
            3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
            _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
        }
    }

    /// Milliseconds as `950 ms`, `12.3 s`, `4 min 5 s`.
    pub fn milliseconds(&self, milliseconds: i64) -> String {
        match milliseconds {
            ..1_000 => format!("{milliseconds} ms"),
            1_000..60_000 => {
                let point = match self.language {
                    Language::English => '.',
                    Language::Portuguese => ',',
                };
                format!("{}{point}{} s", milliseconds / 1_000, milliseconds % 1_000 / 100)
            }
            _ => self.span(TimeDelta::milliseconds(milliseconds)),
        }
    }

    /// A number with its noun.
    pub fn counted(&self, number: i64, one: &str, many: &str) -> String {
        format!("{} {}", self.count(number), if number == 1 { one } else { many })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_have_the_same_places_in_every_text() {
        let all = [
            Common::PAIRS,
            Pages::PAIRS,
            States::PAIRS,
            Causes::PAIRS,
            Actions::PAIRS,
            Acts::PAIRS,
            BulkTexts::PAIRS,
            WebhookTexts::PAIRS,
            Visit::PAIRS,
        ];
        for (key, english, portuguese) in all.into_iter().flatten() {
            let places = |text: &str| {
                let mut found: Vec<String> = text
                    .split('{')
                    .skip(1)
                    .filter_map(|rest| rest.split_once('}').map(|(name, _)| name.to_owned()))
                    .collect();
                found.sort();
                found
            };
            assert_eq!(places(english), places(portuguese), "{key}");
            assert!(!english.is_empty() && !portuguese.is_empty(), "{key}");
        }
    }

    #[test]
    fn numbers_are_written_as_the_language_does() {
        assert_eq!(Language::English.texts().count(-1_234_567), "-1,234,567");
        assert_eq!(Language::Portuguese.texts().count(1_234_567), "1.234.567");
        assert_eq!(Language::Portuguese.texts().decimal(12.34), "12,3");
        assert_eq!(Language::English.texts().milliseconds(12_345), "12.3 s");
        assert_eq!(
            Language::English.texts().span(TimeDelta::seconds(7_800)),
            "2 h 10 min"
        );
    }
}

//! The types that columns of a source are read as.

/// The type that a column is read as. Other types are cast, where each of their values can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    BigInt,
    Boolean,
    Float,
    Text,
    Uuid,
    Time,
    Json,
    /// An array of messages, which only a view has.
    Messages,
    /// An array of integers, which only a view has.
    Integers,
}

impl Kind {
    /// Whether a column of this type can be read as this kind. `category` is `pg_type.typcategory`.
    pub fn accepts(self, type_name: &str, category: &str) -> bool {
        match self {
            Self::Integer | Self::BigInt => matches!(type_name, "smallint" | "integer" | "bigint"),
            Self::Boolean => type_name == "boolean",
            Self::Float => matches!(
                type_name,
                "double precision" | "real" | "numeric" | "integer" | "bigint"
            ),
            // all string types and enums
            Self::Text => matches!(category, "S" | "E"),
            Self::Uuid => type_name == "uuid" || category == "S",
            Self::Time => type_name.starts_with("timestamp "),
            Self::Json => matches!(type_name, "json" | "jsonb"),
            Self::Messages => matches!(type_name, "json" | "jsonb" | "json[]" | "jsonb[]"),
            Self::Integers => matches!(type_name, "smallint[]" | "integer[]" | "bigint[]"),
        }
    }

    /// The expected type, for error messages.
    pub const fn expected_type(self) -> &'static str {
        match self {
            Self::Json => "jsonb",
            Self::Messages => "jsonb or jsonb[]",
            _ => self.read_type(),
        }
    }

    /// The type of [`Self::read_expression`].
    pub const fn read_type(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Boolean => "boolean",
            Self::Float => "double precision",
            Self::Text | Self::Json | Self::Messages => "text",
            Self::Uuid => "uuid",
            Self::Time => "timestamp",
            Self::Integers => "integer[]",
        }
    }

    /// A NULL that every statement takes in place of the column.
    pub const fn null(self) -> &'static str {
        match self {
            Self::Integer => "NULL::integer",
            Self::BigInt => "NULL::bigint",
            Self::Boolean => "NULL::boolean",
            Self::Float => "NULL::double precision",
            Self::Text => "NULL::text",
            Self::Uuid => "NULL::uuid",
            Self::Time => "NULL::timestamp",
            Self::Json | Self::Messages => "NULL::jsonb",
            Self::Integers => "NULL::integer[]",
        }
    }

    /// The expression that reads the column. JSON is read as `jsonb` text, so that equal values have equal text.
    pub fn read_expression(self, column: &str) -> String {
        match self {
            Self::Json => format!("{column}::jsonb::text"),
            Self::Messages => format!("to_jsonb({column})::text"),
            _ => format!("{column}::{}", self.read_type()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_fits_when_each_of_its_values_can_be_read() {
        for (kind, type_name, category, fits) in [
            (Kind::Integer, "bigint", "N", true),
            (Kind::BigInt, "smallint", "N", true),
            (Kind::BigInt, "numeric", "N", false),
            (Kind::Integer, "text", "S", false),
            (Kind::Text, "citext", "S", true),
            (Kind::Text, "bytea", "U", false),
            (Kind::Uuid, "character varying", "S", true),
            (Kind::Time, "timestamp with time zone", "D", true),
            (Kind::Time, "date", "D", false),
            (Kind::Json, "jsonb[]", "A", false),
            (Kind::Messages, "json[]", "A", true),
            (Kind::Messages, "text", "S", false),
        ] {
            assert_eq!(kind.accepts(type_name, category), fits, "{type_name} as {kind:?}");
        }
    }
}

//! Maps values of the domain to PostgreSQL. The domain crate knows no database.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, FromRow, Postgres, Row, Type};
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::fence::ReadVersion;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::inbox::UnsyncedReason;
use tidemark_shared::job::Lane;
use tidemark_shared::run::{RunStatus, RunType};
use tidemark_shared::selection::NameOf;
use tidemark_shared::tenant::{Tenant, TenantStatus};
use tidemark_shared::verification::FaultKind;

/// Wraps a value of the domain, so that a statement can bind and read it.
#[derive(Debug, Clone, Copy)]
pub struct Stored<T>(pub T);

/// Wraps a list, to bind it.
pub fn stored<T: Copy>(values: impl AsRef<[T]>) -> Vec<Stored<T>> {
    values.as_ref().iter().copied().map(Stored).collect()
}

/// Unwraps the values that were read.
pub fn values<T>(stored: Vec<Stored<T>>) -> Vec<T> {
    stored.into_iter().map(|Stored(value)| value).collect()
}

/// Unwraps the value that was read, if there was one.
pub fn value<T>(stored: Option<Stored<T>>) -> Option<T> {
    stored.map(|Stored(value)| value)
}

impl FromRow<'_, PgRow> for Stored<ReadVersion> {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self(ReadVersion {
            epoch: row.try_get("source_epoch")?,
            xmax: row.try_get("source_xmax")?,
            in_progress: row.try_get("source_in_progress")?,
        }))
    }
}

impl From<Stored<Self>> for ReadVersion {
    fn from(Stored(version): Stored<Self>) -> Self {
        version
    }
}

impl From<Stored<Tenant>> for Tenant {
    fn from(Stored(tenant): Stored<Tenant>) -> Self {
        tenant
    }
}

/// Reads a column that may be NULL. Also allows `#[sqlx(try_from = "Stored<…>")]` on fields of `#[derive(FromRow)]`.
macro_rules! nullable {
    ($name:ty) => {
        impl Type<Postgres> for Stored<Option<$name>> {
            fn type_info() -> PgTypeInfo {
                Stored::<$name>::type_info()
            }

            fn compatible(of: &PgTypeInfo) -> bool {
                Stored::<$name>::compatible(of)
            }
        }

        impl<'r> Decode<'r, Postgres> for Stored<Option<$name>> {
            fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
                let found = Option::<Stored<$name>>::decode(value)?;
                Ok(Self(found.map(|Stored(value)| value)))
            }
        }

        impl From<Stored<$name>> for $name {
            fn from(Stored(value): Stored<$name>) -> Self {
                value
            }
        }

        impl From<Stored<Option<$name>>> for Option<$name> {
            fn from(Stored(value): Stored<Option<$name>>) -> Self {
                value
            }
        }
    };
}

/// Stores an id as its number.
macro_rules! stored_id {
    ($name:ident($number:ty)) => {
        impl Type<Postgres> for Stored<$name> {
            fn type_info() -> PgTypeInfo {
                <$number>::type_info()
            }

            fn compatible(of: &PgTypeInfo) -> bool {
                <$number>::compatible(of)
            }
        }

        impl PgHasArrayType for Stored<$name> {
            fn array_type_info() -> PgTypeInfo {
                <$number>::array_type_info()
            }
        }

        impl Encode<'_, Postgres> for Stored<$name> {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                Encode::<Postgres>::encode_by_ref(&self.0.0, buffer)
            }
        }

        impl<'r> Decode<'r, Postgres> for Stored<$name> {
            fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
                <$number>::decode(value).map($name).map(Self)
            }
        }

        nullable!($name);
    };
}

/// Stores an enum by its name. Statements cast to and from the enums of the database: the driver asks the catalog for a type of ours,
/// once in every session, and that takes longer than most statements.
macro_rules! stored_enum {
    ($name:ident) => {
        impl Type<Postgres> for Stored<$name> {
            fn type_info() -> PgTypeInfo {
                <str as Type<Postgres>>::type_info()
            }
        }

        impl PgHasArrayType for Stored<$name> {
            fn array_type_info() -> PgTypeInfo {
                <String as PgHasArrayType>::array_type_info()
            }
        }

        impl Encode<'_, Postgres> for Stored<$name> {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                <&str as Encode<Postgres>>::encode(self.0.as_str(), buffer)
            }
        }

        impl<'r> Decode<'r, Postgres> for Stored<$name> {
            fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
                let text = value.as_str()?;
                $name::ALL
                    .into_iter()
                    .find(|known| known.as_str() == text)
                    .map(Self)
                    .ok_or_else(|| format!("`{text}` is unknown to this build").into())
            }
        }

        nullable!($name);
    };
}

stored_id!(TenantId(i32));
stored_id!(RunId(i64));
stored_enum!(ChunkStatus);
stored_enum!(Lane);
stored_enum!(RunStatus);
stored_enum!(RunType);
stored_enum!(TenantStatus);
stored_enum!(FaultKind);
stored_enum!(NameOf);
stored_enum!(UnsyncedReason);

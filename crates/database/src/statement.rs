//! One macro: a statement that Postgres prepares once per connection.
//!
//! diesel 2.3 marks `sql_query`, batch inserts and updates as not cacheable, so they are parsed and planned anew at every
//! call, at the price of a round trip. A struct of its own with a static `QueryId` is cached. Binds are the fields, in the
//! order of the `?` in the text. `Another of Statement` has the same binds, and a text of its own.

/// A column that may be null, for `unnest`, which fills those that are shorter than others with nulls: so it goes without the
/// nulls at its end, which is without any, mostly.
pub(crate) fn nullable<T>(values: impl Iterator<Item = Option<T>>) -> Vec<Option<T>> {
    let mut column: Vec<_> = values.collect();
    column.truncate(column.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
    column
}

macro_rules! statement {
    (
        $(#[$doc:meta])*
        $name:ident { $($field:ident: $rust:ty => $bind:ty),* $(,)? } -> $row:ty,
        $text:literal
    ) => {
        $(#[$doc])*
        struct $name<'a> {
            $($field: $rust,)*
            lifetime: std::marker::PhantomData<&'a ()>,
        }

        impl $name<'_> {
            /// The text, with the fields in the places of its `?`.
            fn walk<'b>(
                &'b self,
                text: &'static str,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                let mut text = text.split('?');
                out.push_sql(text.next().unwrap_or_default());
                $(
                    out.push_bind_param::<$bind, _>(&self.$field)?;
                    out.push_sql(text.next().unwrap_or_default());
                )*
                Ok(())
            }
        }

        statement! { @prepared $name, $row, |statement, out| statement.walk($text, out) }
    };
    (
        $(#[$doc:meta])*
        $name:ident of $columns:ident -> $row:ty,
        $text:literal
    ) => {
        $(#[$doc])*
        struct $name<'a>($columns<'a>);

        statement! { @prepared $name, $row, |statement, out| statement.0.walk($text, out) }
    };
    (@prepared $name:ident, $row:ty, |$statement:ident, $out:ident| $walk:expr) => {
        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl diesel::query_builder::Query for $name<'_> {
            type SqlType = $row;
        }

        impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                $out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                let $statement = self;
                $walk
            }
        }
    };
}

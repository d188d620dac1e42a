//! One macro: a statement that Postgres prepares once per connection.
//!
//! diesel 2.3 marks `sql_query`, batch inserts and updates as not cacheable, so they are parsed and planned anew at every
//! call, at the price of a round trip. A struct of its own with a static `QueryId` is cached. Binds are the fields, in the
//! order of the `?` in the text.

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
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                let mut text = $text.split('?');
                out.push_sql(text.next().unwrap_or_default());
                $(
                    out.push_bind_param::<$bind, _>(&self.$field)?;
                    out.push_sql(text.next().unwrap_or_default());
                )*
                Ok(())
            }
        }
    };
}

//! Makes the enums of routes, the parser and the dispatch from the rows of the table. Everything is resolved
//! by the compiler: a request costs comparisons and one `match`.

/// Each `enum` of the table becomes an enum whose `answer` calls the handlers; [`Route`](super::Route) is one
/// of them.
macro_rules! routes {
    ($(
        $(#[$doc:meta])*
        enum $section:ident ( $( $argument:ident : $argument_type:ty ),* ) -> $answer:ty {
            $(
                $variant:ident
                $( ( $repository:ident $( , $part:ident : $part_type:ty )* ) at [ $( $segment:pat ),+ ] )?
                $( at $( $path:literal )|+ )?
                , $methods:literal, $class:literal, $needs:ident => $handler:expr;
            )+
        }
    )+) => {
        /// Each row, by the name of its route.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[ $( $( stringify!($variant) ),+ ),+ ];

        /// What a path names.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(super) enum Route {
            $( $section($section), )+
        }

        impl Route {
            /// `path` as it came, without the query.
            pub(super) fn parse(path: &str) -> Result<Self, InvalidPath> {
                let path = &*decoded(path)?;
                // The specification ends the path of uploads with a slash, and some clients leave it out.
                let path = path
                    .strip_suffix('/')
                    .filter(|path| path.ends_with("/blobs/uploads"))
                    .unwrap_or(path);
                $(
                    if let Some(found) = $section::parse(path)? {
                        return Ok(Self::$section(found));
                    }
                )+
                Err(InvalidPath::Unknown)
            }

            pub(super) fn row(&self) -> Row<'_> {
                match self {
                    $( Self::$section(route) => route.row(), )+
                }
            }
        }

        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub(super) enum $section {
                $( $variant $( ( RepositoryName $( , $part_type )* ) )?, )+
            }

            impl $section {
                fn parse(path: &str) -> Result<Option<Self>, InvalidPath> {
                    $(
                        $(
                            if let Some((name, [ $( $segment ),+ ])) = tail(path) {
                                return Ok(Some(Self::$variant(name.parse()? $( , $part.parse()? )*)));
                            }
                        )?
                        $(
                            if matches!(path, $( $path )|+) {
                                return Ok(Some(Self::$variant));
                            }
                        )?
                    )+
                    Ok(None)
                }

                pub(super) fn row(&self) -> Row<'_> {
                    match self {
                        $(
                            Self::$variant $( ( $repository, .. ) )? => Row {
                                methods: $methods,
                                class: $class,
                                needs: Needs::$needs,
                                #[cfg(test)]
                                name: stringify!($variant),
                                repository: table::routes!(@repository $( $repository )?),
                            },
                        )+
                    }
                }

                /// Lets the route's handler answer.
                pub(super) async fn answer(&self, $( $argument: $argument_type ),*) -> $answer {
                    match self {
                        $( Self::$variant $( ( $repository $( , $part )* ) )? => $handler, )+
                    }
                }
            }
        )+
    };
    (@repository) => { None };
    (@repository $repository:ident) => { Some($repository) };
}

pub(super) use routes;

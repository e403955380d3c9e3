//! The store: names, roots, collection.

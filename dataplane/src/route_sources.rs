//! The sources of learned routes, as a configuration names them.

use std::sync::Arc;
use std::time::Duration;

use rewire_feed::{STALE_TIME, SourceConfig};
use rewire_schema::Configuration;
use rewire_schema::model::RouteSourceRow;

/// The sources that a configuration names, in order. Cost: the sources.
pub fn route_sources(configuration: &Configuration) -> Vec<SourceConfig> {
    let sources = configuration.route_source.values();
    let source = |row: &RouteSourceRow| {
        let tables = configuration.route_source_vpc.values();
        let tables = tables.filter(|table| table.route_source == row.name);
        SourceConfig {
            name: row.name.as_str().into(),
            listen: row.listen,
            distance: row.distance,
            most_routes: row.most_routes,
            stale_time: row
                .stale_time
                .map_or(STALE_TIME, |time| Duration::from_millis(time.as_millis())),
            tables: tables
                .map(|table| (table.table_id, Arc::from(table.vpc.as_str())))
                .collect(),
        }
    };
    sources.map(source).collect()
}

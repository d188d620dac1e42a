-- Reset first, so that what is set stands in the order in which it stood.
ALTER TABLE due RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_vacuum_cost_delay,
    autovacuum_analyze_scale_factor, autovacuum_analyze_threshold, vacuum_truncate);
ALTER TABLE due SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000,
    vacuum_truncate = false);
ALTER TABLE deliveries RESET (fillfactor, autovacuum_analyze_threshold);
ALTER TABLE deliveries SET (fillfactor = 70, autovacuum_analyze_threshold = 10000);

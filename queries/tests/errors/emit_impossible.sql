CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS SELECT chain, count(*) AS n FROM eth.blocks GROUP BY chain;
CREATE SINK a FROM v WITH (connector = 'stdout') EMIT ON WINDOW CLOSE;
CREATE SINK b FROM v WITH (connector = 'stdout') EMIT ON FINALITY;

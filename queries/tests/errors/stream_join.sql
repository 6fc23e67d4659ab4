CREATE SOURCE eth WITH (connector = 'simulator');
CREATE MATERIALIZED VIEW v AS
SELECT l.log_index FROM eth.logs l JOIN eth.transactions t ON t.from_address = l.address;
CREATE MATERIALIZED VIEW w AS
SELECT block_number FROM eth.blocks WHERE gas_used > (SELECT avg(gas_used) FROM eth.blocks);
CREATE MATERIALIZED VIEW x AS
SELECT l.log_index FROM eth.logs l LEFT ASOF JOIN eth.blocks b MATCH_CONDITION (l.block_number = b.block_number) ON l.address = b.block_hash;

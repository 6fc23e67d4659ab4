CREATE SOURCE eth WITH (connector = 'simulator');
CREATE FUNCTION usd(amount, price DOUBLE) RETURNS DOUBLE AS amount * price / 1e18;
CREATE FUNCTION abs(x) AS x;
CREATE FUNCTION cast(x) AS x;
CREATE FUNCTION twofold(x) AS x;
CREATE FUNCTION twofold(x) AS x + x;
CREATE FUNCTION ping(x) AS pong(x) + 1;
CREATE FUNCTION pong(x) AS ping(x) - 1;
CREATE FUNCTION again(x) AS CASE WHEN x > 0 THEN again(x - 1) ELSE 0 END;
CREATE FUNCTION misspelt(amount) AS amuont * 2;
CREATE FUNCTION of_table(x) AS x + eth.value;
CREATE FUNCTION of_nothing() AS block_number;
CREATE FUNCTION unknown(x) AS lenght(x);
CREATE FUNCTION asks(x) AS (SELECT max(value) FROM eth.transactions) + x;
CREATE FUNCTION typed(x BIGINT, name TEXT) AS x + length(name) > TIMESTAMP '2024-01-01';
CREATE FUNCTION wrong_type(x BIGNIT) AS x;
CREATE FUNCTION inner_count(x) AS usd(x);
CREATE FUNCTION total(x) AS sum(x);
CREATE MATERIALIZED VIEW too_few AS SELECT usd(value) AS v FROM eth.transactions;
CREATE MATERIALIZED VIEW too_many AS SELECT usd(value, 1, 2) AS v FROM eth.transactions;
CREATE MATERIALIZED VIEW misnamed AS SELECT usd(amount => value, prise => 2) AS v FROM eth.transactions;
CREATE MATERIALIZED VIEW twice AS SELECT usd(value, amount => 2) AS v FROM eth.transactions;
CREATE MATERIALIZED VIEW starred AS SELECT total(*) AS v FROM eth.transactions;
CREATE MATERIALIZED VIEW filtered AS
SELECT block_number, total(gas_used) FILTER (WHERE success) AS v FROM eth.transactions GROUP BY block_number;
CREATE MATERIALIZED VIEW not_blamed AS SELECT misspelt(value) AS v FROM eth.transactions;
CREATE MATERIALIZED VIEW not_blamed_either AS SELECT * FROM not_blamed;
CREATE MATERIALIZED VIEW in_where AS SELECT block_number FROM eth.transactions WHERE total(gas_used) > 3;
CREATE MATERIALIZED VIEW does_not_fit AS
SELECT usd(
    block_hash,
    2
) AS v FROM eth.transactions;

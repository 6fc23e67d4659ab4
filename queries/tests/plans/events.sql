-- Logs decoded: one decoder however many read the event, and only the columns of logs that are needed.
CREATE EVENT eth.transfer AS 'Transfer(address indexed from, address indexed to, uint256 value)';
CREATE SOURCE eth WITH (connector = 'simulator');
CREATE EVENT eth.everything AS
'event Everything(uint56 small, uint64 large, int64, int72 wide, bytes32 indexed id, bytes4 selector, bytes20, string
  indexed name, string note, bytes, bool, (uint8 a, address[] b) part, uint256[2][] pairs, uint256 amount0In,
  address address, uint256 address_);'
WITH (address = '0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48');
CREATE EVENT eth.note AS 'LogNote(bytes4 indexed sig, address indexed guy, bytes32 indexed foo, bytes32 indexed bar, bytes) anonymous'
WITH (address = '0x35d1b3f3d7966a1dfe207aa4514c12a259a0492b, 0x9759a6ac90977b93b58547b4a71c78317f391a28 0x65c79fcb50ca1594b025960e539ed7a9a6d434a3');

CREATE MATERIALIZED VIEW volume AS
SELECT window_start, address, sum(value) AS total
FROM TUMBLE(eth.transfer, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start, address;

CREATE MATERIALIZED VIEW receivers AS
SELECT block_number, transaction_hash, "to", count(*) AS transfers FROM eth.transfer
WHERE value > 0 GROUP BY block_number, transaction_hash, "to";

CREATE MATERIALIZED VIEW everything AS SELECT * FROM eth.everything;
CREATE MATERIALIZED VIEW lower_case AS SELECT amount0In, address__ FROM eth.everything;
CREATE MATERIALIZED VIEW notes AS SELECT block_number, sig, arg4 FROM eth.note;
CREATE MATERIALIZED VIEW strange AS SELECT block_number, reason, count(*) AS logs FROM eth.transfer_skipped
GROUP BY block_number, reason;

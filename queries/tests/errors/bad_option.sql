CREATE SOURCE eth WITH (connector = 'recording', pth = 'x');
CREATE SOURCE base WITH (connector = 'simulator', seed = 'abc');
CREATE SOURCE opt WITH (connector = 'recording');
CREATE SOURCE arb WITH (connector = 'recordng', path = 'x');
SET wokers = 3;
CREATE TABLE tokens (a TEXT) WITH (connector = 'csv', path = 'tokens.csv');

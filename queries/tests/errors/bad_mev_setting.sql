SET mev.jit_blocks = '0';
SET mev.auction_blocks = 'a day';
SET mev.jit_block = '2';

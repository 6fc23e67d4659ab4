-- q13, bounded side input: bids with what a reference table says. Here it is a table that may change as well.
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid b JOIN side_input s ON b.auction % 100 = s.key

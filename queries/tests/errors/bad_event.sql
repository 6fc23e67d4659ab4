CREATE SOURCE eth WITH (connector = 'simulator');
CREATE EVENT transfer AS 'Transfer(address indexed from)';

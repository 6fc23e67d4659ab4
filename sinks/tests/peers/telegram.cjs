// A Bot API on loopback: prints its port, and for each line it reads what the bot has sent so far as JSON.
const net = require('node:net');
const readline = require('node:readline');
const { createRequire } = require('node:module');
const TelegramServer = createRequire(process.argv[2] + '/')('telegram-test-api');

const say = (value) => process.stdout.write(JSON.stringify(value) + '\n');
const probe = net.createServer().listen(0, '127.0.0.1', () => {
  const { port } = probe.address();
  probe.close(async () => {
    const server = new (TelegramServer.TelegramServer || TelegramServer)({ port, host: '127.0.0.1', storage: 'RAM' });
    await server.start();
    say({ port });
    const lines = readline.createInterface({ input: process.stdin });
    lines.on('line', () => say(server.storage.botMessages.map(({ message, messageId }) => ({ message, messageId }))));
    lines.on('close', () => process.exit(0));
  });
});

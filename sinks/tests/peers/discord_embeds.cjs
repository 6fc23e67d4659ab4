// Reads messages as lines of JSON and has discord.js' own builders judge their embeds; prints 'ok' or what is wrong.
// The limit over all embeds of a message is not theirs to see: it is Discord's, 6000 characters.
const home = process.argv[2];
const { EmbedBuilder } = require(require.resolve('@discordjs/builders', { paths: [home] }));
const lines = require('node:readline').createInterface({ input: process.stdin });
lines.on('line', (line) => {
  try {
    const message = JSON.parse(line);
    let length = 0;
    for (const embed of message.embeds) {
      const builder = new EmbedBuilder();
      if (embed.title !== undefined) builder.setTitle(embed.title);
      if (embed.description !== undefined) builder.setDescription(embed.description);
      if (embed.url !== undefined) builder.setURL(embed.url);
      if (embed.color !== undefined) builder.setColor(embed.color);
      if (embed.footer !== undefined) builder.setFooter({ text: embed.footer.text });
      if (embed.timestamp !== undefined) builder.setTimestamp(new Date(embed.timestamp));
      builder.addFields(...(embed.fields ?? []));
      const shown = builder.toJSON();
      for (const name of Object.keys(embed)) {
        if (shown[name] === undefined) throw new Error(`${name} is no part of an embed`);
      }
      const texts = [shown.title, shown.description, shown.footer?.text];
      for (const field of shown.fields ?? []) texts.push(field.name, field.value);
      length += texts.filter(Boolean).reduce((sum, text) => sum + text.length, 0);
    }
    if (message.embeds.length > 10 || length > 6000) throw new Error(`${message.embeds.length} embeds of ${length}`);
    if ((message.content ?? '').length > 2000) throw new Error('content is too long');
    if (JSON.stringify(message.allowed_mentions?.parse) !== '[]') throw new Error('mentions are not forbidden');
    console.log('ok');
  } catch (error) {
    console.log(`${error.name}: ${error.message}`.replaceAll('\n', ' '));
  }
});

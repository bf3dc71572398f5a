// Hands mails to a server over nodemailer's pool; prints the seconds it took.
// Usage: node nodemailer.js PORT MAILS CONNECTIONS TEXT
import nodemailer from "nodemailer";

const [port, mails, connections] = process.argv.slice(2, 5).map(Number);
const text = process.argv[5];
const pool = nodemailer.createTransport({
  pool: true, host: "127.0.0.1", port, secure: false, ignoreTLS: true, maxConnections: connections, maxMessages: Infinity,
});
const began = performance.now();
await Promise.all(
  Array.from({ length: mails }, (_, number) =>
    pool.sendMail({
      from: "Ana Müller <ana@ourco.example>",
      to: `Pat Li <p${number}@example.com>`,
      subject: `A job for you, ${number}`,
      messageId: `<${number}.abcdefghijklmnop@ourco.example>`,
      text: text.replaceAll("{n}", number),
      list: { unsubscribe: [`https://segue.example/u/${number}`, "mailto:ana@ourco.example"] },
    }),
  ),
);
console.log(JSON.stringify({ seconds: (performance.now() - began) / 1000 }));
pool.close();

// Serves the Slack service of the package `emulate` on loopback only, which it can't be told to by itself.
// node emulator.mjs PACKAGE PORT SEED
import net from "node:net";
import { pathToFileURL } from "node:url";

const [path, port, seed] = process.argv.slice(2);
const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (wanted, _host, ...rest) {
  return listen.call(this, wanted, "127.0.0.1", ...rest);
};
const { createEmulator } = await import(pathToFileURL(path));
const { url } = await createEmulator({ service: "slack", port: Number(port), seed: { slack: JSON.parse(seed) } });
// Whoever started it may die without a word: then it ends too.
process.stdin.resume().on("end", () => process.exit());
console.log(url);

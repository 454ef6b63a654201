// Runs Perfetto's trace processor as its user interface does: requests come on standard input, replies
// go to standard output. The argument is the directory with engine_bundle.js and its WebAssembly.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const read = (name) => fs.readFileSync(path.join(process.argv[2], path.basename(name)));

// It takes this for the worker of a browser.
const worker = {
  console: { log() {}, warn() {}, error: console.error },
  WorkerGlobalScope: class {},
  XMLHttpRequest: class {
    open(_, name) { this.name = name; }
    send() { this.response = read(this.name); }
  },
  location: { href: "https://localhost/engine_bundle.js" },
};
for (const name of ["Error", "Response", "TypeError", "TextDecoder", "TextEncoder", "URL", "Uint8Array", "WebAssembly",
  "crypto", "performance", "setTimeout"]) {
  worker[name] = globalThis[name];
}
worker.self = worker;
vm.runInContext(read("engine_bundle.js").toString(), vm.createContext(worker));

const port = { postMessage: (bytes) => process.stdout.write(Buffer.from(bytes)) };
worker.onmessage({ data: port });
// Promises of its start come first.
setImmediate(() => port.onmessage({ data: new Uint8Array(fs.readFileSync(0)) }));

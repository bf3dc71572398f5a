// What is wrong with an AsyncAPI document: one line for each error of the AsyncAPI initiative's own parser.
// Usage: node asyncapi.js FILE; exits with 1 if there is any.

import { Parser, fromFile } from "@asyncapi/parser";

const ERROR = 0; // warnings tell of newer versions of the format

const { diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
const errors = diagnostics.filter((each) => each.severity === ERROR);
for (const { path, message } of errors) console.log(`${path.join("/")}: ${message}`);
process.exitCode = errors.length ? 1 : 0;

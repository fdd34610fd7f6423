"use strict";
// Makes one file of a TypeScript module and what it imports of the project itself, with the
// tools that @temporalio/worker has for workflows. Packages stay what they are: the file
// requires them.

const path = require("node:path");

/** Compiles source to made. Types are left out, not checked. */
function compile(tool, source, made) {
  const compiler = tool("webpack")({
    mode: "development", devtool: "inline-source-map", target: "node", context: path.dirname(source), entry: source,
    output: { path: path.dirname(made), filename: path.basename(made), library: { type: "commonjs2" } },
    resolve: { extensions: [".ts", ".js", ".mjs", ".cjs", ".json"], extensionAlias: { ".js": [".ts", ".js"], ".mjs": [".mts", ".mjs"], ".cjs": [".cts", ".cjs"] } },
    externals: ({ request }, done) => (/^[./]/.test(request) ? done() : done(null, "commonjs " + request)),
    module: { rules: [{ test: /\.[cm]?ts$/, loader: tool.resolve("swc-loader"), options: { jsc: { target: "es2022", parser: { syntax: "typescript", decorators: true } } } }] },
  });
  return new Promise((resolve, reject) => {
    compiler.run((err, stats) => {
      const wrong = err ?? (stats.hasErrors() ? new Error(stats.toString({ all: false, errors: true })) : undefined);
      compiler.close(() => (wrong ? reject(wrong) : resolve()));
    });
  });
}

module.exports = { compile };

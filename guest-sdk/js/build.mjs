#!/usr/bin/env node
// Makes a component of a plugin's folder: `node build.mjs DIR OUT [WIT]`.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { componentize } from '@bytecodealliance/componentize-js';
import { build } from 'esbuild';

const sdk = fileURLToPath(new URL('.', import.meta.url));

/** Everything of WASI: without them a component imports nothing but the contract's own. */
const FEATURES = ['random', 'stdio', 'clocks', 'http', 'fetch-event'];

const KINDS = ['transform', 'reducer', 'keyed', 'sink'];

async function main([folder, out, wit = witFolder()]) {
  if (!folder || !out) throw new Error('usage: node build.mjs DIR OUT [WIT]');
  const [plugin, target, contract] = [folder, out, wit].map((path) => resolve(path));
  const { kind, http } = await manifestOf(plugin);
  const scratch = await mkdtemp(join(tmpdir(), 'wasmill-js-'));
  try {
    const bundle = join(scratch, 'plugin.js');
    const sends = await bundled(plugin, kind, bundle);
    if (sends && !http) throw new Error('`@wasmill/sdk/http` is for sinks whose plugin.toml says `http = true`');
    process.chdir(scratch); // ComponentizeJS 0.23 does not find the source if this is `/`
    const { component } = await componentize({
      sourcePath: bundle,
      witPath: contract,
      worldName: `${http ? 'http-' : ''}${kind}-plugin`,
      disableFeatures: FEATURES,
    });
    await writeFile(target, component);
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** The package holds a copy of the contract; in the repository it lies beside. */
function witFolder() {
  return ['wit', '../../wit'].map((path) => join(sdk, path)).find((path) => existsSync(path));
}

async function manifestOf(folder) {
  const file = join(folder, 'plugin.toml');
  const text = await readFile(file, 'utf8');
  const [, kind] = /^kind\s*=\s*"([^"]*)"/m.exec(text) ?? [];
  if (!KINDS.includes(kind)) throw new Error(`${file} needs a \`kind\`: "${KINDS.join('", "')}"`);
  return { kind, http: /^http\s*=\s*true\b/m.test(text) };
}

/** One module of the plugin, what it imports, and this SDK around it. Says whether there are requests in it. */
async function bundled(folder, kind, outfile) {
  const entry = [
    `import plugin from ${JSON.stringify(folder)};`,
    `import { exportsOf } from ${JSON.stringify(join(sdk, 'src/guest.js'))};`,
    `export const ${kind} = exportsOf(plugin, ${JSON.stringify(kind)});`,
  ];
  const { metafile } = await build({
    stdin: { contents: entry.join('\n'), resolveDir: folder, sourcefile: 'plugin' },
    outfile,
    bundle: true,
    format: 'esm',
    target: 'es2024',
    alias: { '@wasmill/sdk': join(sdk, 'src/index.js'), '@wasmill/sdk/http': join(sdk, 'src/http.js') },
    conditions: ['wasmill', 'module'],
    external: ['wasmill:*', 'wasi:*'],
    logLevel: 'warning',
    metafile: true,
  });
  return Object.keys(metafile.inputs).some((input) => input.endsWith('src/http/wasi.js'));
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}

// The install script of @nekit/native. It never fails an install: without an addon the kernel runs on its TypeScript fallback.
//   1. NEKIT_NATIVE=off: nothing
//   2. a prebuilt @nekit/native-<platform>-<arch> that loads: nothing to do
//   3. cmake and a C++ compiler: builds build/Release/nekit.node
//   4. else: says what is missing
import { createRequire } from 'node:module';
import { cmakeBuild, explainMissing, missingTools } from './cmake.mjs';

const { findPrebuilt } = createRequire(import.meta.url)('../index.js');

async function install() {
  if (process.env.NEKIT_NATIVE === 'off') return 'skipped, as NEKIT_NATIVE=off says';
  const prebuilt = findPrebuilt();
  if (prebuilt.addon !== null) return `${prebuilt.from} is used`;
  const missing = missingTools();
  if (missing.length > 0) return explainMissing(missing);
  const { code, output } = await cmakeBuild({ folder: 'build', target: 'nekit' });
  if (code === 0) return 'built';
  return `the build failed (${code}); the TypeScript fallback will be used\n${output.trimEnd().split('\n').slice(-20).join('\n')}`;
}

const outcome = await install().catch((error) => `not installed, the TypeScript fallback will be used: ${error.message}`);
process.stdout.write(outcome.startsWith('@nekit/native') ? `${outcome}\n` : `@nekit/native: ${outcome}\n`);

// npm run pack:native: what is published of the addon, as folders and as tarballs:
//   @nekit/native-linux-x64 and the like    the addon, built on and for this machine
//   @nekit/native                           the sources, with the platform packages as optional dependencies
// Only the published manifest names the platform packages: npm has no lock entry for what is not in a registry yet, and `npm ci` would fail
// in the workspace, where the addon is built anyway.
//
//   node native/scripts/prebuild.mjs [FOLDER] [--for-here]
//       FOLDER       where to write, native/prebuilds otherwise
//       --for-here   takes the addon of native/build as it is: for a try-out on this very system
//
// Prints what the addon asks of the system it will run on, and fails when that is more than we promise.
import { copyFile, cp, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { cmakeBuild, explainMissing, missingTools, NATIVE, run } from './cmake.mjs';

/** The oldest systems that the package is for: Debian 11, Ubuntu 20.04, RHEL 9 (glibc 2.31 and GCC 10's libstdc++). */
const AT_MOST = { GLIBC: '2.31', GLIBCXX: '3.4.28', CXXABI: '1.3.12' };

/** Every platform that is published. */
const PLATFORMS = ['linux-x64'];

const { platformPackage } = createRequire(import.meta.url)('../index.js');

const forHere = process.argv.includes('--for-here');
const [chosen] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));

try {
  await prebuild(resolve(chosen ?? join(NATIVE, 'prebuilds')));
} catch (error) {
  process.stderr.write(`prebuild: ${error.message}\n`);
  process.exitCode = 1;
}

async function prebuild(folder) {
  const missing = missingTools();
  if (missing.length > 0) throw new Error(explainMissing(missing));
  const build = forHere ? { folder: 'build' } : { folder: 'build-portable', options: { NEKIT_PORTABLE: process.platform === 'linux' ? 'ON' : 'OFF' } };
  must('the build', await cmakeBuild({ ...build, target: 'nekit' }));

  const manifest = await platformManifest();
  const place = join(folder, manifest.name);
  await rm(place, { recursive: true, force: true });
  await mkdir(place, { recursive: true });
  const addon = join(place, manifest.main);
  await copyFile(join(NATIVE, build.folder, 'Release/nekit.node'), addon);
  must('strip', await run('strip', [process.platform === 'darwin' ? '-x' : '--strip-unneeded', addon]));
  await writeFile(join(place, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  await cp(join(NATIVE, '../LICENSE'), join(place, 'LICENSE'));
  await writeFile(join(place, 'README.md'), `# ${manifest.name}\n\n${manifest.description}. Nobody needs to install it by hand: \`@nekit/native\` finds it.\n`);

  const load = ['-p', `JSON.stringify(require(${JSON.stringify(addon)}).abi)`];
  process.stdout.write(`${addon}: ${(await stat(addon)).size} bytes, abi ${must('loading it', await run(process.execPath, load)).trim()}\n`);
  if (process.platform === 'linux' && !forHere) await checkNeeds(addon);
  await pack(place, folder);
  await pack(await sources(folder), folder);
}

/** The folder of @nekit/native as it is published. */
async function sources(folder) {
  const manifest = await ownManifest();
  const place = join(folder, manifest.name);
  await rm(place, { recursive: true, force: true });
  for (const file of manifest.files) await cp(join(NATIVE, file), join(place, file), { recursive: true });
  await cp(join(NATIVE, '../LICENSE'), join(place, 'LICENSE'));
  const optionalDependencies = Object.fromEntries(PLATFORMS.map((platform) => [`${manifest.name}-${platform}`, manifest.version]));
  const { devDependencies: _, ...published } = manifest;
  await writeFile(join(place, 'package.json'), `${JSON.stringify({ ...published, optionalDependencies }, null, 2)}\n`);
  return place;
}

async function pack(place, folder) {
  const output = must('npm pack', await run('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: place }));
  process.stdout.write(`${join(folder, output.trim().split('\n').at(-1))}\n`); // the last line is the name of the file
}

async function ownManifest() {
  return JSON.parse(await readFile(join(NATIVE, 'package.json'), 'utf8'));
}

async function platformManifest() {
  const own = await ownManifest();
  const name = platformPackage();
  const what = name.slice('@nekit/native-'.length);
  return {
    name,
    version: own.version,
    description: `The native addon of nekit-kernel, built for ${what}`,
    license: own.license,
    engines: own.engines,
    os: [process.platform],
    cpu: [process.arch],
    ...(process.platform === 'linux' ? { libc: [name.endsWith('-musl') ? 'musl' : 'glibc'] } : {}),
    main: 'nekit.node',
    files: ['nekit.node'],
  };
}

/** By `objdump`: libraries and the newest version of each kind of symbol. */
async function checkNeeds(addon) {
  const headers = must('objdump -p', await run('objdump', ['-p', addon]));
  const libraries = [...headers.matchAll(/NEEDED\s+(\S+)/g)].map(([, library]) => library);
  process.stdout.write(`  needs ${libraries.join(', ')}\n`);
  if (!libraries.some((library) => library.startsWith('libstdc++'))) throw new Error('libstdc++ is linked statically: that needs the glibc of this machine');

  const symbols = must('objdump -T', await run('objdump', ['-T', addon]));
  const needed = [...symbols.matchAll(/\*UND\*\s+\S+\s+\(?([A-Z]+)_([\d.]+)\)?\s+(\S+)/g)];
  const tooNew = [];
  for (const [kind, limit] of Object.entries(AT_MOST)) {
    const ofKind = needed.filter(([, name]) => name === kind).toSorted((a, b) => compare(b[2], a[2]));
    if (ofKind.length === 0) continue;
    process.stdout.write(`  ${kind} up to ${ofKind[0][2]} (${ofKind[0][3]}); the promise is ${limit}\n`);
    tooNew.push(...ofKind.filter(([, , version]) => compare(version, limit) > 0).map(([, , version, symbol]) => `${symbol} (${kind}_${version})`));
  }
  if (tooNew.length > 0) throw new Error(`it would not load on older systems: ${tooNew.join(', ')}`);
}

function compare(a, b) {
  return a.localeCompare(b, 'en', { numeric: true });
}

function must(what, { code, output }) {
  if (code !== 0) throw new Error(`${what} failed (${code})\n${output.trimEnd().split('\n').slice(-40).join('\n')}`);
  return output;
}

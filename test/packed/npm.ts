import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

/** The workspace: this file runs as dist-test/packed/npm.js. */
export const WORKSPACE = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** For one npm command, in ms. An install without a warm cache fetches some thirty small packages. */
const NPM_MS = 240_000;

export interface Tarball {
  readonly name: string;
  readonly version: string;
  /** Absolute path of the .tgz. */
  readonly file: string;
  /** What is in it, relative to the package. */
  readonly contents: readonly string[];
}

/** Packs every publishable package of the workspace into `folder`. */
export async function packAll(folder: string): Promise<readonly Tarball[]> {
  const names = await publishable();
  const output = await npm(['pack', '--json', '--pack-destination', folder, ...names.flatMap((name) => ['--workspace', name])], WORKSPACE);
  const packed = JSON.parse(output) as { name: string; version: string; filename: string; files: { path: string }[] }[];
  return packed.map(({ name, version, filename, files }) => ({ name, version, file: join(folder, filename), contents: files.map(({ path }) => path) }));
}

/** What is published of the addon: `@nekit/native` and the platform package of this machine, as tarballs. */
export interface NativeTarballs {
  readonly native: string;
  readonly platform: string;
  /** `@nekit/native-linux-x64` and the like. */
  readonly platformName: string;
}

/** Builds and packs the addon into `folder`; a text says why that cannot be done here. */
export async function packNative(folder: string): Promise<NativeTarballs | string> {
  const { missingTools } = (await import(pathToFileURL(join(WORKSPACE, 'native/scripts/cmake.mjs')).href)) as { missingTools(): string[] };
  const missing = missingTools();
  if (missing.length > 0) return `no ${missing.join(', no ')} here`;
  const { platformPackage } = createRequire(import.meta.url)(join(WORKSPACE, 'native/index.js')) as { platformPackage(): string };
  await promisify(execFile)(process.execPath, [join(WORKSPACE, 'native/scripts/prebuild.mjs'), folder, '--for-here'], { env: cleanEnvironment() });
  const platformName = platformPackage();
  const { version } = JSON.parse(await readFile(join(WORKSPACE, 'native/package.json'), 'utf8')) as { version: string };
  const file = (name: string): string => join(folder, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);
  return { native: file('@nekit/native'), platform: file(platformName), platformName };
}

async function publishable(): Promise<readonly string[]> {
  const folders = (await readdir(join(WORKSPACE, 'packages'))).map((name) => join(WORKSPACE, 'packages', name));
  const names: string[] = [];
  for (const folder of [...folders, join(WORKSPACE, 'examples', 'third-party')]) {
    const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { name: string; private?: boolean };
    if (manifest.private !== true) names.push(manifest.name);
  }
  return names;
}

/** Runs npm as a person would in `folder`, and gives its stdout. Rejects with its stderr. */
export function npm(args: readonly string[], folder: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { cwd: folder, env: cleanEnvironment(), timeout: NPM_MS, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 } as const;
    execFile('npm', [...args], options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`npm ${args[0] ?? ''} failed in ${folder}: ${stderr}`, { cause: error }));
    });
  });
}

/** Without what an npm around us says about *its* project: this one is somewhere else, with an addon of its own. The user's own npm settings stay. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const ours =
    /^(?:npm_package_|npm_lifecycle_|npm_config_(?:local_prefix|global_prefix|prefix|global|workspace|workspaces|include_workspace_root)$|INIT_CWD$|TAP|NEKIT_NATIVE(?:_PATH)?$|NODE_OPTIONS$|NODE_PATH$)/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));
}

import { execFile } from 'node:child_process';

/** Of util-linux; where other systems put it there is none. */
const SETPRIV = '/usr/bin/setpriv';

/** To find out what it can, in ms. */
const PATIENCE = 2_000;

/**
 * What to put in front of a command so that the kernel ends the program with us, also when we are killed without a word: Linux' PDEATHSIG, which Node
 * cannot set, and util-linux' setpriv (2.33 and later) can. Empty where there is none of it. setpriv replaces itself by the program: no process more.
 */
export function deathWish(setpriv: string = SETPRIV): Promise<readonly string[]> {
  if (process.platform !== 'linux') return Promise.resolve([]);
  const wish = [setpriv, '--pdeathsig', 'KILL', '--'];
  return new Promise((resolve) => {
    // Tried on itself, for busybox has one that does not know the word.
    execFile(setpriv, [...wish.slice(1), setpriv, '--version'], { timeout: PATIENCE }, (error) => resolve(error === null ? wish : []));
  });
}

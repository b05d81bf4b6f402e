import type { Stream } from '../../dist/net/stream.js';

export type Call = 'read' | 'write' | 'closeWrite' | 'abort';

/** A stream of somebody else's, whose read waits for ever, and which throws at once from these calls. Its read ends with an abort that works. */
export function brokenStream(...calls: readonly Call[]): Stream {
  const broken = (call: Call): void => {
    if (calls.includes(call)) throw new Error(`${call} threw`);
  };
  let fail: (reason: Error) => void = () => {};
  return {
    read() {
      broken('read');
      return new Promise((_resolve, reject) => (fail = reject));
    },
    write() {
      broken('write');
      return Promise.resolve();
    },
    closeWrite() {
      broken('closeWrite');
      return Promise.resolve();
    },
    abort(reason) {
      broken('abort');
      fail(reason);
    },
  };
}

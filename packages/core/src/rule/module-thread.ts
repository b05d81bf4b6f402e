/** A thread that runs one rule module. Started by module-worker.ts, never imported. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { frozenSession, type ModuleFacts, outcomeOf, reasonOf } from './module-contract.js';
import type { FactName, FromThread, ThreadData, ToThread } from './module-messages.js';
import { importModule } from './module-runner.js';
import type { ProcessInfo } from './rule.js';

type Answer = Extract<ToThread, { type: 'answer' }>['value'];

class Thread {
  readonly #port: MessagePort;
  /** Facts that were asked for, by call and name. */
  readonly #asked = new Map<string, { readonly answer: Promise<Answer>; readonly settle: (value: Answer) => void }>();

  constructor(port: MessagePort) {
    this.#port = port;
  }

  async serve({ path }: ThreadData): Promise<void> {
    try {
      const run = await importModule(path, '');
      this.#port.on('message', (message: ToThread) => {
        if (message.type === 'answer') this.#asked.get(`${message.call} ${message.fact}`)?.settle(message.value);
        else void this.#answer(message.call, () => run(frozenSession(message.session), this.#facts(message.call)));
      });
      this.#say({ type: 'ready' });
    } catch (error) {
      this.#say({ type: 'failed', message: reasonOf(error) });
    }
  }

  async #answer(call: number, run: () => unknown): Promise<void> {
    try {
      this.#say({ type: 'outcome', call, outcome: outcomeOf(await run()) });
    } catch (error) {
      this.#say({ type: 'error', call, message: reasonOf(error) });
    }
    for (const fact of ['addresses', 'process']) this.#asked.delete(`${call} ${fact}`);
  }

  #facts(call: number): ModuleFacts {
    return Object.freeze({
      addresses: () => this.#ask(call, 'addresses') as Promise<readonly string[]>,
      process: () => this.#ask(call, 'process') as Promise<ProcessInfo | null>,
    });
  }

  #ask(call: number, fact: FactName): Promise<Answer> {
    const key = `${call} ${fact}`;
    let asked = this.#asked.get(key);
    if (asked === undefined) {
      let settle: (value: Answer) => void = () => undefined;
      const answer = new Promise<Answer>((resolve) => {
        settle = resolve;
      });
      asked = { answer, settle };
      this.#asked.set(key, asked);
      this.#say({ type: 'ask', call, fact });
    }
    return asked.answer;
  }

  #say(message: FromThread): void {
    this.#port.postMessage(message);
  }
}

if (parentPort !== null) await new Thread(parentPort).serve(workerData as ThreadData);

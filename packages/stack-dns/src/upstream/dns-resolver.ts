/** The client as core's Resolver: names to addresses, for rules and for adapters that dial. */
import { addressFamily, type Cancel, type Clock, type Hosts, lookUpHosts, NetError, normaliseHost, type Resolver, toNetError } from '@nekit/core';
import { addressesOf } from '../wire/answer.js';
import { RCODE, TYPE } from '../wire/message.js';
import { questionFor } from '../wire/question.js';
import type { DnsClient } from './dns-client.js';

export interface DnsResolverOptions {
  readonly client: DnsClient;
  readonly clock: Clock;
  /** In front of all servers. */
  hosts(): Hosts;
  readonly ipv6: boolean;
  /** When there are addresses of IPv4, those of IPv6 are waited for so long, in ms. */
  readonly ipv6Wait: number;
}

export class DnsResolver implements Resolver {
  readonly #options: DnsResolverOptions;

  constructor(options: DnsResolverOptions) {
    this.#options = options;
  }

  async resolve(name: string, family: 0 | 4 | 6, signal: Cancel): Promise<readonly string[]> {
    if (signal.reason !== null) throw signal.reason;
    const host = normaliseHost(name);
    if (host === null) throw new NetError('name', `${JSON.stringify(name.slice(0, 300))} is no host name`, { code: 'BAD_NAME' });
    const addresses = addressFamily(host) !== 0 ? [host] : await this.#lookUp(host, family, signal);
    const wanted = addresses.filter((address) => this.#isWanted(address, family));
    if (wanted.length === 0) throw new NetError('name', `${host} has no ${family === 0 ? 'IPv4' : `IPv${family}`} address`, { code: 'NO_ADDRESS' });
    return wanted;
  }

  #isWanted(address: string, family: 0 | 4 | 6): boolean {
    const own = addressFamily(address);
    return (family === 0 || own === family) && (this.#options.ipv6 || own === 4);
  }

  #lookUp(host: string, family: 0 | 4 | 6, signal: Cancel): readonly string[] | Promise<readonly string[]> {
    const found = lookUpHosts(this.#options.hosts(), host);
    if (found !== null && 'addresses' in found) return found.addresses;
    const asked = found?.alias ?? host;
    if (family === 4 || !this.#options.ipv6) return this.#ask(asked, TYPE.A, signal);
    if (family === 6) return this.#ask(asked, TYPE.AAAA, signal);
    return this.#both(asked, signal);
  }

  /** Rejects with a NetError: there is no such name, or nobody knows. */
  async #ask(host: string, type: number, signal: Cancel): Promise<readonly string[]> {
    const question = questionFor(host, type);
    if (question === null) throw new NetError('name', `${host} is too long for a name`, { code: 'BAD_NAME' });
    const { answer } = await this.#options.client.ask(question, signal);
    if (answer.rcode === RCODE.NXDOMAIN) throw new NetError('name', `${host} does not exist`, { code: 'ENOTFOUND' });
    if (answer.rcode !== RCODE.NOERROR)
      throw new NetError('name', `${host} does not resolve: the name server answers with error ${answer.rcode}`, { code: 'DNS_SERVFAIL' });
    return addressesOf(answer);
  }

  /** IPv6 does not hold up what has IPv4 for long. */
  #both(host: string, signal: Cancel): Promise<readonly string[]> {
    const { clock, ipv6Wait } = this.#options;
    const four = this.#ask(host, TYPE.A, signal);
    const six = this.#ask(host, TYPE.AAAA, signal);
    return new Promise((resolve, reject) => {
      let stopTimer = (): void => {};
      let found6: readonly string[] | null = null;
      let found4: readonly string[] | null = null;
      const done = (): void => {
        stopTimer();
        resolve([...(found6 ?? []), ...(found4 ?? [])]);
      };
      six.then(
        (addresses) => {
          found6 = addresses;
          if (found4 !== null) done();
        },
        () => {
          found6 = []; // why there is nothing is told by the other
          if (found4 !== null) done();
        },
      );
      four.then(
        (addresses) => {
          found4 = addresses;
          if (found6 !== null || addresses.length === 0) {
            if (found6 !== null) done();
            else six.then(() => done(), reject);
          } else stopTimer = clock.after(ipv6Wait, done);
        },
        (error: unknown) => {
          six.then(
            (addresses) => (addresses.length > 0 ? resolve(addresses) : reject(toNetError(error))),
            () => reject(toNetError(error)),
          );
        },
      );
    });
  }
}

/** `dns-hijack`: what is asked of anybody else by a TUN, and answered by us. Clash's forms: `any:53`, `tcp://any:53`, `198.18.0.2:53`, `0.0.0.0:53`. */
import { type Network, parseAddress, parseEndpoint } from '@nekit/core';

const DNS_PORT = 53;

interface Target {
  /** null: both. */
  readonly network: Network | null;
  /** null: any. */
  readonly address: Uint8Array | null;
  readonly port: number;
}

/** A network of the device's: whoever is asked there on port 53, it is us. */
interface OwnNetwork {
  readonly address: Uint8Array;
  readonly prefix: number;
}

/** Throws a plain Error for what is no address and port. */
export function parseHijack(text: string): Target {
  const [scheme, rest] = text.includes('://') ? (text.split('://', 2) as [string, string]) : ['', text];
  const network = scheme === '' ? null : scheme.toLowerCase() === 'tcp' ? 'tcp' : scheme.toLowerCase() === 'udp' ? 'udp' : undefined;
  const endpoint = parseEndpoint(rest.replace(/^(?:any|\*):/i, '0.0.0.0:'));
  const address = endpoint === null ? null : parseAddress(endpoint.host);
  if (network === undefined || endpoint === null || address === null || endpoint.port === 0)
    throw new Error(`"${text}" is no address and port: write any:53, 198.18.0.2:53 or tcp://any:53`);
  return { network, address: address.every((byte) => byte === 0) ? null : address, port: endpoint.port };
}

export class Hijack {
  readonly #targets: readonly Target[];
  readonly #own: readonly OwnNetwork[];
  /** Ports of UDP that all addresses are taken at, and those that some are. */
  readonly #allPorts: ReadonlySet<number>;
  readonly #ports: ReadonlySet<number>;

  /** `networks`: the device's addresses, `198.18.0.1/30`. Throws a plain Error for an entry that is wrong. */
  constructor(entries: readonly string[], networks: readonly string[]) {
    this.#targets = entries.map(parseHijack);
    this.#own = networks.flatMap((network) => {
      const [text = '', bits] = network.split('/');
      const address = parseAddress(text);
      return address === null ? [] : [{ address, prefix: bits === undefined ? address.length * 8 : Number(bits) }];
    });
    const udp = this.#targets.filter(({ network }) => network !== 'tcp');
    this.#allPorts = new Set(udp.filter(({ address }) => address === null).map(({ port }) => port));
    this.#ports = new Set([DNS_PORT, ...udp.map(({ port }) => port)]);
  }

  /** Of a UDP packet: whether it is one of ours. Its destination's 4 or 16 bytes are at `bytes[at]`. */
  takesPacket(bytes: Uint8Array, at: number, length: 4 | 16, port: number): boolean {
    if (this.#allPorts.has(port)) return true;
    return this.#ports.has(port) && this.#takes('udp', bytes, at, length, port);
  }

  /** `host`: canonical. */
  takes(network: Network, host: string, port: number): boolean {
    const address = this.#mayTake(network, port) ? parseAddress(host) : null;
    return address !== null && this.#takes(network, address, 0, address.length, port);
  }

  #mayTake(network: Network, port: number): boolean {
    return port === DNS_PORT || this.#targets.some((target) => target.port === port && target.network !== other(network));
  }

  #takes(network: Network, bytes: Uint8Array, at: number, length: number, port: number): boolean {
    if (port === DNS_PORT && this.#own.some(({ address, prefix }) => address.length === length && isSame(address, bytes, at, prefix))) return true;
    return this.#targets.some(
      (target) =>
        target.port === port &&
        target.network !== other(network) &&
        (target.address === null || (target.address.length === length && isSame(target.address, bytes, at, length * 8))),
    );
  }
}

function other(network: Network): Network {
  return network === 'tcp' ? 'udp' : 'tcp';
}

/** Whether the first `bits` are the same. */
function isSame(address: Uint8Array, bytes: Uint8Array, at: number, bits: number): boolean {
  const whole = bits >>> 3;
  for (let i = 0; i < whole; i++) if (address[i] !== bytes[at + i]) return false;
  const rest = bits & 7;
  return rest === 0 || (((address[whole] ?? 0) ^ (bytes[at + whole] ?? 0)) & (0xff << (8 - rest)) & 0xff) === 0;
}

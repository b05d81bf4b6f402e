/**
 * UDP: a client's association carries datagrams to many peers. Each peer is routed on its own; all peers that one adapter carries share
 * one outgoing association of that adapter (endpoint-independent mapping, RFC 4787), which is one session.
 *
 *   client conn ── peer ──> link ──┐
 *                  peer ──> link ──┴─> flow (adapter A) <──relayPackets──> A's PacketConn
 *                  peer ──> link ────> flow (adapter B) <──relayPackets──> B's PacketConn
 *
 * A peer whose first datagrams have shown a name that takes its place (`sniffer:` with override-destination) has a flow to itself: what comes back comes from whatever address
 * the name has there, and the client waits for the one that it sent to.
 */
import type { Adapter } from '../adapter/adapter.js';
import { BoundedMap } from '../net/bounded-map.js';
import type { Endpoint } from '../net/endpoint.js';
import { NetError, toNetError } from '../net/errors.js';
import type { Datagram, PacketConn } from '../net/packet-conn.js';
import { PacketQueue } from '../net/packet-queue.js';
import { relayPackets } from '../net/relay-packets.js';
import type { Session } from '../net/session.js';
import type { PacketSniff } from '../sniff/packet-sniff.js';
import type { Sighting } from '../sniff/sniffer.js';
import { dialPackets } from './dial.js';
import { enter, unknownFake } from './enter.js';
import { copyDatagrams, FlowConn, type Override } from './flow-conn.js';
import { candidatesOf, learn, type Routing, takeWay, type Way } from './routing.js';
import type { Decision } from './rule-list.js';
import type { SessionRecord } from './session-table.js';
import type { PacketRequest } from './stream-request.js';

/** Peers of one association that are remembered; the one that was routed first is forgotten first, and routed anew. */
const MAX_LINKS = 1024;

/** Adapters (flows) of one association. More than a config plausibly names for one client port. */
const MAX_FLOWS = 64;

/** Serves one association until its client conn ends. Never rejects. */
export async function handlePackets(request: PacketRequest, routing: Routing): Promise<void> {
  await new Association(request, routing).run();
}

/** Datagrams that wait while their peer is being routed. */
const MAX_WAITING = 16;

/** A peer that could not be carried is not tried again for this long, in ms: every datagram would be a dial. */
const REFUSED_FOR = 1_000;

/** Where one peer's datagrams go. `error`: what each of them is answered with, if at all. */
type Link =
  | { readonly state: 'routing'; readonly waiting: PacketQueue; readonly sniff: PacketSniff<Sighting | null> | null }
  | { readonly state: 'carried'; readonly flow: FlowConn; readonly addresses: readonly string[] | null; readonly fake: Fake | null }
  | { readonly state: 'refused'; readonly until: number; readonly error: NetError | null };

/** What a fake peer stands for. */
interface Fake {
  readonly real: Endpoint;
  /** It is not used any more. */
  release(): void;
}

class Association {
  readonly #request: PacketRequest;
  readonly #routing: Routing;
  readonly #client: PacketConn;
  readonly #links: BoundedMap<Endpoint, Link>;
  readonly #flows = new Map<Adapter, FlowConn>();
  /** Of one peer each. */
  readonly #ownFlows = new Set<FlowConn>();
  /** Nothing else tells a dial that its client has left: the limits of client ports would bound no descriptors. */
  readonly #dialling = new Set<SessionRecord>();
  /** The session that the request came with is somebody's. */
  #isGiven = false;
  #isOver = false;

  constructor(request: PacketRequest, routing: Routing) {
    this.#request = request;
    this.#routing = routing;
    this.#client = request.accept();
    this.#links = new BoundedMap(MAX_LINKS, routing.sessions.peers, release);
  }

  async run(): Promise<void> {
    let error: NetError | null;
    try {
      for (let datagrams = await this.#client.receive(); datagrams !== null; datagrams = await this.#client.receive()) {
        for (let i = 0; i < datagrams.length; ) i = this.#forward(datagrams, i);
      }
      error = this.#client.error ?? null;
    } catch (thrown) {
      error = toNetError(thrown); // by a conn that somebody else wrote
    }
    this.#isOver = true;
    for (const link of this.#links.values()) if (link.state === 'routing') link.sniff?.stop();
    for (const record of this.#dialling) record.cancel.cancel(error ?? new NetError('aborted', 'the client left', { code: 'CLIENT_LEFT' }));
    for (const flow of [...this.#flows.values(), ...this.#ownFlows]) flow.close(error ?? undefined);
    for (const link of this.#links.values()) release(link);
    this.#links.clear();
  }

  /** Datagram `at`, and what follows it to the same peer. Where the rest begins. */
  #forward(datagrams: readonly Datagram[], at: number): number {
    const datagram = datagrams[at];
    if (datagram === undefined) return datagrams.length;
    const link = this.#links.get(datagram.peer);
    if (link?.state === 'carried') {
      let until = at + 1;
      while (datagrams[until]?.peer === datagram.peer) until++;
      link.flow.put(datagrams, at, until, link.addresses, link.fake?.real ?? null);
      return until;
    }
    if (link?.state === 'routing') {
      for (const copy of copyDatagrams(datagrams, at, at + 1)) link.waiting.put(copy);
      link.sniff?.add(datagram.bytes);
    } else if (link === undefined || link.until <= this.#routing.timers.now()) {
      void this.#route(datagram);
    } else if (link.error !== null) {
      this.#tell(link.error, datagram.peer);
    }
    return at + 1;
  }

  /** Routes a new peer and joins it to its adapter's flow, which it opens if need be. */
  async #route(datagram: Datagram): Promise<void> {
    const { peer } = datagram;
    const routing = this.#routing;
    const session = enter(this.#sessionFor(peer), routing);
    if (session === null) {
      this.#refuse(peer, unknownFake(peer.host));
      return;
    }
    const waiting = new PacketQueue(MAX_WAITING, routing.sessions.waiting);
    waiting.putAll(copyDatagrams([datagram], 0, 1));
    const sniff = this.#sniffFor(session);
    this.#remember(peer, { state: 'routing', waiting, sniff });
    try {
      sniff?.add(datagram.bytes);
      const sighting = sniff === null ? null : await sniff.done;
      const routed = routing.router.route(sighting === null ? session : learn(sighting, routing));
      const decision = routed instanceof Promise ? await routed : routed; // without a wait the rest of a burst finds the peer carried
      if (!this.#isOver) this.#join(peer, session, sighting?.session ?? session, decision, waiting);
    } catch (error) {
      this.#refuse(peer, toNetError(error)); // the client is leaving: nothing else ends routing
    } finally {
      waiting.end();
    }
  }

  /** The request's session is its own peer's, once: the datagram that it was opened for may have been dropped, and another come first. */
  #sessionFor(peer: Endpoint): Session {
    const { session } = this.#request;
    if (!this.#isGiven && session.requested.host === peer.host && session.requested.port === peer.port) {
      this.#isGiven = true;
      return session;
    }
    const { sniffed: _ofAnother, ...common } = session;
    return { ...common, id: this.#routing.sessions.nextId(), requested: peer, destination: peer };
  }

  /** `session` is what was asked for, `known` what it has turned out to be. */
  #join(peer: Endpoint, session: Session, known: Session, decision: Decision, waiting: PacketQueue): void {
    const { fakes } = this.#routing;
    const name = session.destination.host;
    if (name !== peer.host && fakes?.contains(peer.host) === true && fakes.domainOf(peer.host) !== name) {
      this.#links.delete(peer); // it stands for another name meanwhile; the next datagram goes there
      return;
    }
    const override = known.destination === session.destination ? null : { from: peer, to: known.destination };
    const flow = this.#flowFor(known, decision, override);
    if (flow === null) {
      this.#remember(peer, this.#refused(null)); // of a limit of ours the remote says nothing
      return;
    }
    const { addresses } = decision;
    const fake = this.#fakeOf(peer, known, flow, addresses);
    this.#remember(peer, { state: 'carried', flow, addresses, fake });
    const datagrams = waiting.takeNow();
    flow.put(datagrams, 0, datagrams.length, addresses, fake?.real ?? null);
  }

  /** null: the peer is routed by what is known of it. */
  #sniffFor(session: Session): PacketSniff<Sighting | null> | null {
    const { sniffer, timeouts, timers } = this.#routing;
    const candidates = candidatesOf(session, this.#routing);
    return sniffer === null || candidates === null ? null : sniffer.lookAtPackets(session, candidates, timeouts.sniff, timers);
  }

  /** null: the peer is what it seems to be. */
  #fakeOf(peer: Endpoint, { destination }: Session, flow: FlowConn, addresses: readonly string[] | null): Fake | null {
    const { fakes } = this.#routing;
    if (destination.host === peer.host || fakes?.contains(peer.host) !== true) return null;
    flow.masks.add({ fake: peer, real: destination, addresses });
    const letGo = fakes.hold(peer.host, () => this.#recycled(peer));
    return {
      real: destination,
      release: () => {
        letGo();
        flow.masks.delete(peer);
      },
    };
  }

  /** Whether the client has sent to this address itself. */
  #isOwn({ host, port }: Endpoint): boolean {
    for (const peer of this.#links.keys()) if (peer.host === host && peer.port === port) return true;
    return false;
  }

  /** The address stands for another name from here on; a flow that was for the first one alone ends. */
  #recycled(peer: Endpoint): void {
    const link = this.#links.get(peer);
    if (link?.state !== 'carried') return;
    release(link);
    this.#links.delete(peer);
    for (const other of this.#links.values()) if (other.state === 'carried' && other.flow === link.flow) return;
    link.flow.close(new NetError('aborted', `${peer.host} was given to another name`, { code: 'FAKE_IP_RECYCLED' }));
  }

  /** null: there are too many. */
  #flowFor(session: Session, decision: Decision, override: Override | null): FlowConn | null {
    const shared = override === null ? this.#flows.get(decision.adapter) : undefined;
    if (shared !== undefined) return shared;
    if (this.#flows.size + this.#ownFlows.size >= MAX_FLOWS) return null;
    const flow = new FlowConn(this.#client, (peer) => this.#isOwn(peer), override, this.#routing.sessions.waiting);
    if (override === null) this.#flows.set(decision.adapter, flow);
    else this.#ownFlows.add(flow);
    const record = this.#routing.sessions.open(session);
    void this.#carry(flow, record, takeWay(record, decision));
    return flow;
  }

  /** One adapter's flow, from dial to end: one session. Afterwards its peers are routed anew. */
  async #carry(flow: FlowConn, record: SessionRecord, way: Way): Promise<void> {
    const { events, timers, timeouts } = this.#routing;
    let error: NetError | null;
    try {
      this.#dialling.add(record);
      const remote = await dialPackets(record, way, this.#routing); // if it throws, too, its peers are carried first and refused then
      this.#dialling.delete(record);
      if (events.wants('session.connected')) events.emit('session.connected', { session: record.session.id, adapter: record.chain().at(-1) ?? '' });
      const options = { signal: record.cancel, idleMs: this.#request.idleMs ?? timeouts.udpIdle, counters: record.counters, slot: record.slot };
      error = (await relayPackets(flow, remote, options, timers)).error;
    } catch (thrown) {
      this.#dialling.delete(record);
      error = toNetError(thrown);
      flow.close(error);
    }
    const isUnused = error !== null && record.counters[record.slot] === 0 && record.counters[record.slot + 1] === 0;
    record.close(error);
    if (!this.#ownFlows.delete(flow)) this.#flows.delete(way.adapter);
    for (const [peer, link] of this.#links) {
      if (link.state !== 'carried' || link.flow !== flow) continue;
      release(link);
      if (isUnused) this.#refuse(peer, error);
      else this.#links.delete(peer);
    }
  }

  #refuse(peer: Endpoint, error: NetError | null): void {
    this.#remember(peer, this.#refused(error));
    if (error !== null && !this.#isOver) this.#tell(error, peer);
  }

  #tell(error: NetError, peer: Endpoint): void {
    try {
      this.#request.reject(error, peer);
    } catch {
      // The inbound's own affair: the other peers go on.
    }
  }

  #refused(error: NetError | null): Link {
    return { state: 'refused', until: this.#routing.timers.now() + REFUSED_FOR, error };
  }

  #remember(peer: Endpoint, link: Link): void {
    if (!this.#isOver) this.#links.set(peer, link);
  }
}

function release(link: Link): void {
  if (link.state === 'carried') link.fake?.release();
  if (link.state === 'routing') link.waiting.end();
}

/** Fewer connections than this are no crowd. */
const CROWD = 500;

/** A crowd is a new one when there are so many times as many connections as when memory was given back last. */
const GROWTH = 1.5;

/** The crowd has gone when no more than this part of it is left. */
const LEFT = 0.05;

/** The event loop rests when it is busy for at most this part of the time: then nobody waits for a collection of 100 ms, or one packet does. */
const REST = 0.1;

/** Tells when a crowd of connections has come and rests, or has gone: the moments at which there is memory to give back. */
export class Crowd {
  /** Connections when memory was given back last, or fewer since then. */
  #base = 0;
  /** The most since then. */
  #peak = 0;
  #before = 0;

  /** Once for each look: how many connections there are, and for which part of the time since the last look the event loop was busy. True: give memory back now. */
  look(connections: number, busy: number): boolean {
    const isComing = connections > this.#before;
    this.#before = connections;
    this.#base = Math.min(this.#base, connections);
    this.#peak = Math.max(this.#peak, connections);
    if (isComing) return false;
    const rests = busy <= REST && connections - this.#base >= CROWD && connections >= this.#base * GROWTH;
    const hasGone = this.#peak >= CROWD && connections <= this.#peak * LEFT;
    if (!rests && !hasGone) return false;
    this.#base = connections;
    this.#peak = connections;
    return true;
  }
}

// The yardstick: a SOCKS5 proxy as one would write it by hand on Node's own streams. CONNECT only, no authentication, no rules, no
// timeouts, no counters, no log. What it lacks flatters it; what it has is done as well as `net` allows: half-close, no delay, pipe.
//
//   node plain-node.mjs PORT      listens on 127.0.0.1
import { connect, createServer } from 'node:net';

const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
  let buffered = Buffer.alloc(0);
  let greeted = false;
  client.on('error', () => client.destroy());
  client.on('data', onData);

  function onData(chunk) {
    buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
    if (!greeted) {
      if (buffered.length < 2 || buffered.length < 2 + buffered[1]) return;
      if (buffered[0] !== 5) return client.destroy();
      client.write(Buffer.from([5, 0]));
      buffered = buffered.subarray(2 + buffered[1]);
      greeted = true;
    }
    const length = requestLength(buffered);
    if (length === 0) return;
    client.off('data', onData);
    client.pause();
    dial(buffered.subarray(0, length), buffered.subarray(length));
  }

  function dial(request, rest) {
    const host = hostOf(request);
    if (request[0] !== 5 || request[1] !== 1 || host === null) return client.end(reply(7));
    const target = connect({ host, port: request.readUInt16BE(request.length - 2), allowHalfOpen: true, noDelay: true });
    target.once('connect', () => {
      client.write(reply(0));
      if (rest.length > 0) client.unshift(rest);
      client.pipe(target);
      target.pipe(client);
    });
    target.on('error', () => {
      if (target.connecting || target.bytesRead + target.bytesWritten === 0) client.end(reply(5));
      else client.destroy();
    });
    // pipe() passes an end on, but not a reset.
    target.on('close', (failed) => failed && client.destroy());
    client.on('close', (failed) => failed && target.destroy());
  }
});

/** RFC 1928 section 4; 0 while it is not complete. */
function requestLength(bytes) {
  if (bytes.length < 5) return 0;
  const address = bytes[3] === 1 ? 4 : bytes[3] === 4 ? 16 : 1 + bytes[4];
  return bytes.length < 4 + address + 2 ? 0 : 4 + address + 2;
}

function hostOf(request) {
  if (request[3] === 1) return request.subarray(4, 8).join('.');
  if (request[3] === 3) return request.subarray(5, 5 + request[4]).toString('latin1');
  return request[3] === 4 ? [...Array(8).keys()].map((i) => request.readUInt16BE(4 + 2 * i).toString(16)).join(':') : null;
}

function reply(code) {
  return Buffer.from([5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
}

server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });

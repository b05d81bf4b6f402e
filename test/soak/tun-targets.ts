/** A process outside: what obeys the first line, and an echo for datagrams. Says on which port. */
import dgram from 'node:dgram';
import net from 'node:net';
import { SERVER } from '../helpers/tun-home.js';
import { listenAndObey } from './targets.js';

const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  listenAndObey(socket);
});
server.listen(0, '::', () => {
  const { port } = server.address() as net.AddressInfo;
  const echo = dgram.createSocket('udp4');
  echo.on('error', () => {}); // a client that has left is told by ICMP
  echo.on('message', (bytes, remote) => echo.send(bytes, remote.port, remote.address));
  echo.bind(port, SERVER, () => process.send?.(port));
});
process.once('disconnect', () => process.exit());

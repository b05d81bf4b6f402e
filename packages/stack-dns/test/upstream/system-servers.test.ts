import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '@nekit/core/testing';
import t from 'tap';
import { SystemServers } from '../../dist/upstream/system-servers.js';

t.test('the servers of resolv.conf, and those behind the stub of systemd-resolved', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'nekit-dns-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const [conf, behind] = [join(folder, 'resolv.conf'), join(folder, 'behind.conf')];
  const clock = new FakeClock();
  const servers = new SystemServers(clock, conf, behind);
  const hosts = async (): Promise<string[]> => (await servers.list()).map(({ host }) => host);
  let changes = 0;
  const write = async (file: string, text: string): Promise<void> => {
    await writeFile(file, text);
    await utimes(file, ++changes, changes); // a time of its own, however coarse the file system's clock is
    await clock.advance(5_000);
  };

  await t.rejects(servers.list(), { code: 'ENOENT' });
  await write(conf, '# a comment\nsearch example\nnameserver 192.0.2.53\nnameserver  2001:DB8::53 \nnameserver nonsense\n');
  t.same(await hosts(), ['192.0.2.53', '2001:db8::53']);
  await write(conf, 'nameserver 127.0.0.53\noptions edns0\n');
  t.same(await hosts(), ['127.0.0.53'], 'a server of this machine, when nobody says whom it asks');
  await write(behind, 'nameserver 192.0.2.1\n');
  t.same(await hosts(), ['192.0.2.1'], 'whom it asks');
  await write(behind, '\n');
  t.same(await hosts(), ['127.0.0.53'], 'nobody');
  await write(behind, 'nameserver 192.0.2.1\n');
  await write(conf, 'nameserver 192.0.2.53\nnameserver 127.0.0.1\n');
  t.same(await hosts(), ['192.0.2.53', '127.0.0.1'], 'it is not all of it a stub');
});

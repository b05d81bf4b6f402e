import t from 'tap';
import { HostPatterns, lookUpHosts } from '../../dist/net/hosts.js';

t.test('patterns in hosts: the name itself first, then what says more', async (t) => {
  const hosts = new HostPatterns(
    new Map([
      ['exact.example', ['192.0.2.1']],
      ['alias.example', ['x.star.example']],
    ]),
    new Map([
      ['+.example', ['192.0.2.2']],
      ['*.example', ['192.0.2.3']],
      ['.below.example', ['192.0.2.4']],
      ['*.star.example', ['192.0.2.5']],
      ['a.*.deep.example', ['192.0.2.6']],
    ]),
  );
  const got = (name: string): string | undefined => hosts.get(name)?.[0];
  t.same(
    [
      'exact.example',
      'example',
      'any.example',
      'a.b.example',
      'below.example',
      'x.below.example',
      'y.x.below.example',
      'x.star.example',
      'y.x.star.example',
    ].map(got),
    ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.2', '192.0.2.3', '192.0.2.4', '192.0.2.4', '192.0.2.5', '192.0.2.2'],
  );
  t.same(['a.b.deep.example', 'b.b.deep.example', 'test', 'xexample'].map(got), ['192.0.2.6', '192.0.2.2', undefined, undefined]);
  t.ok(hosts.has('any.example') && !hosts.has('test'));
  t.equal(hosts.size, 7);
  t.same(lookUpHosts(hosts, 'alias.example'), { addresses: ['192.0.2.5'] });
});
